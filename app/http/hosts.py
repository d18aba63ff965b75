"""Which HTTP version and which Host a request may name."""

import re
from collections.abc import Sequence
from functools import lru_cache

from starlette.types import Scope

from app.http.problems import Problem

_HOST = re.compile(rb"([\w.~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?", re.ASCII)
_FOR_ANY_HOST = re.compile(r"/metrics|/health(/.*)?")
"""A probe or a scrape names the address of one process."""
MAX_HOST_BYTES = 300
"""A name has at most 255. Longer ones are not remembered: all that are would take megabytes."""


class Hosts:
    """allowed: names, also as `*.example.org` for all below it, and `*`; None for any."""

    def __init__(self, allowed: Sequence[str] | None) -> None:
        self._allowed = allowed
        self._accepts = lru_cache(256)(lambda host: _HOST.fullmatch(host) is not None and self._is_allowed(host))

    def accepts(self, host: bytes) -> bool:
        """Whether a request with this one Host header is surely answered, whatever its path."""
        return len(host) <= MAX_HOST_BYTES and self._accepts(host)

    def find_problem(self, scope: Scope) -> Problem | None:
        """Why a request is not answered; None if it is."""
        version = scope["http_version"]
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if version not in ("1.0", "1.1"):
            return Problem("bad-request", f"the request names HTTP/{version}; the service speaks HTTP/1.1")
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            return Problem("bad-request", f"the request has {len(hosts)} Host headers; HTTP/1.1 asks for one")
        host = hosts[0] if hosts else b""
        if not _HOST.fullmatch(host):
            return Problem("bad-request", "the Host header is no host; expected a name or address, perhaps a port")
        if self._is_allowed(host) or _FOR_ANY_HOST.fullmatch(scope["path"].removeprefix(scope["root_path"])):
            return None
        name = host.decode("latin-1")
        return Problem("unknown-host", f"the Host header names {name[:100]!r}, which is not in INKLING_ALLOWED_HOSTS")

    def _is_allowed(self, host: bytes) -> bool:
        if self._allowed is None:
            return True
        name = re.sub(r":\d*$", "", host.decode("latin-1")).lower().removesuffix(".")
        return any(
            allowed in ("*", name) or (allowed.startswith("*.") and name.endswith(allowed[1:]))
            for allowed in self._allowed
        )
