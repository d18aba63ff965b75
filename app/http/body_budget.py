"""The bound on the bytes of request bodies that one worker holds."""

from starlette.types import Scope

from app.http.problems import Problem

LARGE_BODIES = 8
"""How many bodies of the largest size a worker holds at a time."""
SMALL_BODY = 65_536
_SMALL_BODIES = 256


class BodyBudget:
    """Counts the bytes of bodies from their arrival until their requests are answered.

    Small bodies may use what large ones may not, so that large ones do not keep them out.
    """

    def __init__(self, max_upload_bytes: int) -> None:
        self._large_limit = LARGE_BODIES * max_upload_bytes
        self._limit = self._large_limit + _SMALL_BODIES * SMALL_BODY
        self.held = 0

    def check(self, size: int, more: int) -> None:
        """Raises Problem if `more` bytes of a body of this size are too many."""
        limit = self._limit if size <= SMALL_BODY else self._large_limit
        if self.held + more > limit:
            detail = f"the requests in flight have bodies of {self.held:,} bytes; the limit for this one is {limit:,}"
            raise Problem("overloaded", detail, {"Connection": "close"}, limit=limit)

    def take(self, scope: Scope, more: int) -> None:
        """Adds bytes of the request's body. Raises Problem, as `check`."""
        size = scope["state"].get("body_bytes", 0) + more
        self.check(size, more)
        scope["state"]["body_bytes"] = size
        self.held += more

    def release(self, scope: Scope) -> None:
        """The request has ended."""
        self.held -= scope["state"].pop("body_bytes", 0)
