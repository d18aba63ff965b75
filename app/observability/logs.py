"""The log on standard error: one JSON object a line, or coloured columns where standard error is a terminal.

It carries every record of `logging`, including uvicorn's and the libraries'. Tracebacks show no values of variables,
which could hold what people sent.
"""

import contextlib
import json
import logging
import os
import select
import sys
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

PIPE_BYTES = select.PIPE_BUF
"""The largest write that a pipe takes whole; a longer one may be interleaved with lines of other processes."""

# A format string takes half the time of a JSON serialiser, which matters at thousands of lines a second.
_REQUEST = (
    b'{"time":"%b","level":"info","event":"request","request_id":"%b","method":"%b","route":"%b",'
    b'"status":%d,"duration":%.6f%b}\n'
)

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request being answered; every record logged meanwhile carries it."""


def identify(scope: Scope) -> None:
    """Adds the request's id to everything that this task logs from now on.

    The fast path does not call this: a task with a context variable set runs slower.
    """
    request_id.set(scope["state"]["request_id"].decode())


def set_up() -> "LogHandler":
    """Sends all records of this process to standard error."""
    handler = LogHandler(sys.stderr.fileno(), for_people=sys.stderr.isatty())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return handler


class LogHandler(logging.Handler):
    """Writes log lines to a file descriptor; `for_people` writes coloured columns instead of JSON."""

    def __init__(self, descriptor: int, *, for_people: bool = False) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._writing = threading.RLock()  # reentrant: a finaliser may log while a line is written
        self._for_people = _for_people() if for_people else None
        self.setFormatter(_columns(self._for_people) if self._for_people else JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record).encode(errors="backslashreplace") + b"\n")
            self.flush()
        except Exception:
            self.handleError(record)

    @staticmethod
    def now() -> str:
        return _iso(datetime.now(UTC))

    def request(
        self,
        time: str,
        request_id: bytes,
        method: str,
        route: str,
        status: int,
        seconds: float,
        trace: bytes | None,
        problem: str | None,
    ) -> bytes:
        """The line of a finished request. Nothing needs escaping: ids were validated, and all other values are ours."""
        if self._for_people is None:
            more = b',"trace_id":"%b"' % trace if trace is not None else b""
            if problem is not None:
                more += b',"problem":"%b"' % problem.encode()
            return _REQUEST % (time.encode(), request_id, method.encode(), route.encode(), status, seconds, more)
        line = {
            "time": time,
            "level": "info",
            "event": "request",
            "request_id": request_id.decode(),
            "method": method,
            "route": route,
            "status": status,
            "duration": round(seconds, 6),
            **({"trace_id": trace.decode()} if trace is not None else {}),
            **({"problem": problem} if problem is not None else {}),
        }
        return str(self._for_people(None, "info", line)).encode() + b"\n"

    def write(self, lines: Iterable[bytes]) -> None:
        """Writes finished lines together."""
        self._waiting += lines
        self.flush()

    def flush(self) -> None:
        with self._writing:
            count = len(self._waiting)  # other threads may append meanwhile
            waiting, self._waiting[:count] = self._waiting[:count], []
            piece: list[bytes] = []
            size = 0
            for line in waiting:
                if size + len(line) > PIPE_BYTES:
                    self._write(b"".join(piece))
                    piece, size = [], 0
                piece.append(line)
                size += len(line)
            self._write(b"".join(piece))

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the reader of the log is gone
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [])


class JsonFormatter(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if (found := request_id.get()) is not None:
            line["request_id"] = found
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"))


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _columns(renderer: "Processor") -> logging.Formatter:
    from structlog import processors, stdlib

    stamp = processors.TimeStamper(fmt="iso", utc=True, key="time")
    before: list[Processor] = [stdlib.add_log_level, stdlib.add_logger_name, stamp, _add_request_id]
    after = [stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    return stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=after)


def _for_people() -> "Processor":
    from structlog import dev  # only here and in _columns: a service that writes JSON saves 5 MB and 50 ms a process

    # structlog's other traceback formatters show local variables, and with them what people sent.
    return dev.ConsoleRenderer(
        timestamp_key="time",
        pad_event_to=0,
        pad_level=False,
        sort_keys=False,
        colors="NO_COLOR" not in os.environ,
        exception_formatter=dev.plain_traceback,
    )


def _add_request_id(_: object, __: str, event: "EventDict") -> "EventDict":
    if (found := request_id.get()) is not None:
        event["request_id"] = found
    return event
