"""The log on standard error: one JSON object a line, or lines for people where standard error is a terminal.

Whatever is logged with `logging`, by us, uvicorn or a library, goes through the same; nothing but what is logged is
in it: a traceback has no values of variables.
"""

import contextlib
import logging
import os
import select
import sys
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime

import structlog
from starlette.types import Scope
from structlog.typing import EventDict, Processor

PIPE_BYTES = select.PIPE_BUF
"""What a pipe takes as one: more at a time could come out with another process's lines in the middle of it."""

# Half of what a serialiser takes, for each of thousands of requests a second.
_REQUEST = (
    b'{"time":"%b","level":"info","event":"request","request_id":"%b","method":"%b","route":"%b",'
    b'"status":%d,"duration":%.6f%b}\n'
)

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being answered; every line that is logged meanwhile bears it."""


def identify(scope: Scope) -> None:
    """Whatever this task logs from now on bears the request's id.

    Not for every request: a task whose context has something in it costs more, each time that it runs.
    """
    request_id.set(scope["state"]["request_id"].decode())


def set_up() -> "LogHandler":
    """Sends everything that this process logs to standard error."""
    lines = LogHandler(sys.stderr.fileno(), for_people=sys.stderr.isatty())
    logging.basicConfig(level=logging.INFO, handlers=[lines], force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return lines


class LogHandler(logging.Handler):
    """Writes log lines to a file descriptor. for_people: coloured columns instead of JSON."""

    def __init__(self, descriptor: int, *, for_people: bool = False) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._writing = threading.RLock()  # the garbage collector may have something to log meanwhile
        self._for_people = _for_people() if for_people else None
        self.setFormatter(_formatter(self._for_people))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record).encode(errors="backslashreplace") + b"\n")
            self.flush()
        except Exception:
            self.handleError(record)

    @staticmethod
    def now() -> str:
        """As structlog's TimeStamper writes it."""
        return datetime.now(UTC).isoformat().replace("+00:00", "Z")

    def request(
        self,
        time: str,
        identity: bytes,
        method: str,
        route: str,
        status: int,
        seconds: float,
        trace: bytes | None,
        problem: str | None,
    ) -> bytes:
        """The line of a request that has ended. No value needs an escape: ids were checked, and the others are ours."""
        if self._for_people is None:
            more = b',"trace_id":"%b"' % trace if trace is not None else b""
            if problem is not None:
                more += b',"problem":"%b"' % problem.encode()
            return _REQUEST % (time.encode(), identity, method.encode(), route.encode(), status, seconds, more)
        line = {
            "time": time,
            "level": "info",
            "event": "request",
            "request_id": identity.decode(),
            "method": method,
            "route": route,
            "status": status,
            "duration": round(seconds, 6),
            **({"trace_id": trace.decode()} if trace is not None else {}),
            **({"problem": problem} if problem is not None else {}),
        }
        return str(self._for_people(None, "info", line)).encode() + b"\n"

    def write(self, lines: Iterable[bytes]) -> None:
        """LogHandler that are rendered already, in one go."""
        self._waiting += lines
        self.flush()

    def flush(self) -> None:
        with self._writing:
            count = len(self._waiting)  # other threads may add to them meanwhile
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
        with contextlib.suppress(OSError):  # nobody reads the log any more
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [])


def _formatter(for_people: Processor | None) -> logging.Formatter:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
    before: list[Processor] = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamp, _add_request_id]
    after: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if for_people is not None:
        after.append(for_people)
    else:
        after += [
            structlog.processors.format_exc_info,
            _in_order,
            structlog.processors.JSONRenderer(separators=(",", ":")),
        ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=after)


def _for_people() -> Processor:
    # The other formatters of tracebacks show the variables, and so what people sent.
    return structlog.dev.ConsoleRenderer(
        timestamp_key="time",
        pad_event_to=0,
        pad_level=False,
        sort_keys=False,
        colors="NO_COLOR" not in os.environ,
        exception_formatter=structlog.dev.plain_traceback,
    )


def _add_request_id(_: object, __: str, event: EventDict) -> EventDict:
    if (found := request_id.get()) is not None:
        event["request_id"] = found
    return event


def _in_order(_: object, __: str, event: EventDict) -> EventDict:
    """What each line has comes first."""
    return {name: event.pop(name) for name in ("time", "level", "event")} | dict(event)
