"""How a request ends when its client disconnects or the application fails."""

import asyncio
import functools
import logging
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)


def cancel_on_disconnect(scope: Scope) -> None:
    """Cancels the current task when the request's client disconnects. The application must run under `run`."""
    scope["state"]["on_disconnect"] = functools.partial(_cancel, scope, asyncio.current_task())


def _cancel(scope: Scope, task: asyncio.Task[object] | None) -> None:
    scope["state"]["disconnected"] = True
    if task is not None:
        task.cancel()


def client_disconnected(scope: Scope) -> None:
    """The protocol calls this when the client of an unanswered request has disconnected."""
    if (callback := scope["state"].get("on_disconnect")) is not None:
        callback()


async def run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the application. Catches cancellations by `cancel_on_disconnect`, and errors that have been answered.

    Starlette raises an error again after it has answered it, and uvicorn would then close the connection.
    """
    complete = False

    def watch(message: Message) -> Awaitable[None]:
        nonlocal complete
        complete = message["type"] == "http.response.body" and not message.get("more_body")
        return send(message)

    try:
        await app(scope, receive, watch)
    except asyncio.CancelledError:
        if not scope["state"].get("disconnected"):
            raise
    except Exception:
        if not complete:
            raise
        log.exception("the request failed")
