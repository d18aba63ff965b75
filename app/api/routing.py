"""What all paths have in common: HEAD wherever GET is, a redirect from a trailing slash, and a true Allow."""

from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http import problems
from app.http.responses import NO_STORE
from models.errors import InklingError


class RootPathTaken(InklingError):
    """INKLING_ROOT_PATH is a path of Inkling's own, so that it would not be clear which of the two a request means."""


def install(app: FastAPI, root_path: str) -> None:
    """Raises RootPathTaken."""
    for route in iter_route_contexts(app.routes):
        if root_path and f"{route.path}/".startswith(f"{root_path}/"):
            raise RootPathTaken(f"INKLING_ROOT_PATH={root_path} is a path of Inkling itself; choose another")
    app.add_exception_handler(404, _redirect_or_refuse)
    app.add_exception_handler(405, _refuse_method)


def strip_root_path(scope: Scope) -> None:
    """Removes the root path from a path in which the proxy has left it: uvicorn puts it before every path."""
    root_path: str = scope["root_path"]
    rest: str = scope["path"][len(root_path) :]
    if root_path and (rest == root_path or rest.startswith(f"{root_path}/")):
        scope["path"] = rest


async def run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the application. No cache stores an answer that does not say otherwise itself."""

    async def send_unstored(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            if not any(name == b"cache-control" for name, _ in headers):
                message["headers"] = [*headers, NO_STORE]
        await send(message)

    if scope["method"] == "HEAD":
        await _run_head(app, scope, receive, send_unstored)
    else:
        await app(scope, receive, send_unstored)


async def _run_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as to GET, and ends after the headers: an event stream would go on with nobody to see it."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})

    get = {**scope, "method": "GET"}
    try:
        await app(get, receive, send_head)
    finally:
        scope["route"] = get.get("route")  # for the access log


async def _redirect_or_refuse(request: Request, error: Exception) -> Response:
    """Redirects to the path without its trailing slash if there is one, and from the bare root path to the page."""
    path = _path(request.scope)
    target = path.rstrip("/") or "/"
    if target == path or not _methods(request.app, target):
        return await problems.respond(request, error)
    query = request.url.query
    # A path alone, so that the client's scheme and host stay; it begins with one slash, as every path of a route does.
    location = request.scope["root_path"] + quote(target) + (f"?{query}" if query else "")
    return RedirectResponse(location, 307)


async def _refuse_method(request: Request, _: Exception) -> Response:
    allowed = ", ".join(sorted(_methods(request.app, _path(request.scope))))
    return await problems.respond(request, HTTPException(405, headers={"Allow": allowed}))


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope["root_path"])


def _methods(app: FastAPI, path: str) -> set[str]:
    """The methods of all routes at a path; empty if there is no such path."""
    found: set[str] = set()
    for route in iter_route_contexts(app.routes):
        if route.path_regex.match(path):
            found |= route.methods or set()
    return found | ({"HEAD"} if "GET" in found else set())
