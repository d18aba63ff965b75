"""Asks for a key wherever a call changes something or reveals what people sent."""

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from app.api.keys import Keys
from app.http.problems import Problem

_HOW_TO_SET = "set INKLING_API_KEY, or INKLING_API_KEY_FILE to a file that holds it, and start the service again"


def holds_key(request: Request) -> bool:
    """Whether the request carries a key, as X-API-Key or as a bearer token."""
    keys: Keys = request.app.state.keys
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = [request.headers.get("x-api-key", ""), token.strip() if scheme.lower() == "bearer" else ""]
    return keys.match(value.encode("latin-1") for value in given)  # as Starlette decodes headers


async def _require_key(request: Request) -> None:
    if not request.app.state.keys:
        raise Problem("no-key-configured", f"this call needs a key, and none is configured: {_HOW_TO_SET}")
    if not holds_key(request):
        sent = "x-api-key" in request.headers or "authorization" in request.headers
        detail = "the key is wrong" if sent else "the key is missing"
        raise Problem(
            "wrong-key",
            f"{detail}; send it as X-API-Key: KEY or as Authorization: Bearer KEY",
            {"WWW-Authenticate": 'Bearer realm="inkling"'},
        )


# These only describe the key in the OpenAPI document, whose viewer then has a field for it.
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="INKLING_API_KEY")
_BEARER = HTTPBearer(auto_error=False, description="INKLING_API_KEY")

NEEDS_KEY = [Depends(_require_key), Depends(_HEADER), Depends(_BEARER)]
"""The dependencies of every route that needs the key."""
