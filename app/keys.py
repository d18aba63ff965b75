"""The key for whatever changes state or reveals what people sent."""

import hmac

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from app.problems import Problem
from app.settings import Settings
from models.errors import InklingError

HOW = "set INKLING_API_KEY, or INKLING_API_KEY_FILE to a file that holds it, and start the service again"


class KeyFileError(InklingError):
    pass


def key_of(settings: Settings) -> bytes | None:
    """The key that the settings name; None where they name none. Raises KeyFileError."""
    given = settings.api_key.get_secret_value().strip() if settings.api_key else ""
    if settings.api_key_file is None:
        return given.encode() or None
    if given:
        raise KeyFileError("INKLING_API_KEY and INKLING_API_KEY_FILE are both set; one key is enough")
    try:
        key = settings.api_key_file.read_bytes().strip()
    except OSError as error:
        raise KeyFileError(f"INKLING_API_KEY_FILE={settings.api_key_file} can not be read: {error.strerror}") from error
    if not key:
        raise KeyFileError(f"INKLING_API_KEY_FILE={settings.api_key_file} is empty; expected the key")
    return key


def holds_key(request: Request) -> bool:
    """Whether the request carries the key, as X-API-Key or as a bearer token."""
    expected: bytes | None = request.app.state.key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = [request.headers.get("x-api-key", ""), token.strip() if scheme.lower() == "bearer" else ""]
    # Headers arrive as latin-1; both are compared, so that the time taken tells nothing about either.
    matches = [hmac.compare_digest(value.encode("latin-1"), expected or b"") for value in given]
    return expected is not None and any(matches)


async def _check(request: Request) -> None:
    if request.app.state.key is None:
        raise Problem("no-key-configured", f"this call needs a key, and none is configured: {HOW}")
    if not holds_key(request):
        sent = "x-api-key" in request.headers or "authorization" in request.headers
        detail = "the key is wrong" if sent else "the key is missing"
        raise Problem(
            "wrong-key",
            f"{detail}; send it as X-API-Key: KEY or as Authorization: Bearer KEY",
            {"WWW-Authenticate": 'Bearer realm="inkling"'},
        )


# Named in the OpenAPI document, so that its viewer offers a field for the key; `_check` decides.
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="INKLING_API_KEY")
_BEARER = HTTPBearer(auto_error=False, description="INKLING_API_KEY")

NEEDS_KEY = [Depends(_check), Depends(_HEADER), Depends(_BEARER)]
"""The dependencies of every call that needs the key."""
