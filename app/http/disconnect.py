"""Ends the work of a request whose client has disconnected.

A client that gives up is common under load; what it asked for would only delay the others.
"""

import asyncio
import functools

from starlette.types import ASGIApp, Receive, Scope, Send


def cancel_on_disconnect(scope: Scope) -> None:
    """Has the current task cancelled when the request's client disconnects. `end_quietly` must run the application."""
    scope["state"]["on_disconnect"] = functools.partial(_cancel, scope, asyncio.current_task())


def _cancel(scope: Scope, task: asyncio.Task[object] | None) -> None:
    scope["state"]["disconnected"] = True
    if task is not None:
        task.cancel()


async def end_quietly(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the application; a cancellation by `cancel_on_disconnect` ends here."""
    try:
        await app(scope, receive, send)
    except asyncio.CancelledError:
        if not scope["state"].get("disconnected"):
            raise


def disconnected(scope: Scope) -> None:
    """The protocol calls this when the client of an unanswered request has disconnected."""
    if (callback := scope["state"].get("on_disconnect")) is not None:
        callback()
