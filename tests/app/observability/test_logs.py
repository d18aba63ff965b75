import json
import logging
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.observability.logs import PIPE_BYTES, LogHandler
from tests.support.environment import ROOT

SECRET = "nobody-may-see-this"


@pytest.fixture
def lines(tmp_path: Path) -> LogHandler:
    """They go to the file `log`."""
    return LogHandler(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT))


def logger(lines: LogHandler) -> logging.Logger:
    found = logging.Logger("app.test")
    found.addHandler(lines)
    return found


def test_each_record_is_one_json_object_a_line(lines: LogHandler, tmp_path: Path) -> None:
    log = logger(lines)
    log.info('a "quote", a %s and a\nnew line', "\\ backslash")
    log.warning("\udcff and ä and %s", b"bytes")
    found = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [list(line) for line in found] == [["time", "level", "event", "logger"]] * 2
    assert found[0]["event"] == 'a "quote", a \\ backslash and a\nnew line'
    assert [line["level"] for line in found] == ["info", "warning"]
    assert found[0]["time"].endswith("Z")


@pytest.mark.parametrize("for_people", [False, True])
def test_a_traceback_shows_no_variables(for_people: bool, tmp_path: Path) -> None:
    lines = LogHandler(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT), for_people=for_people)
    picture = SECRET.encode()
    try:
        picture.decode("utf-7").missing  # type: ignore[attr-defined] # noqa: B018
    except AttributeError:
        logger(lines).exception("it failed")
    text = (tmp_path / "log").read_text()
    assert "AttributeError" in text
    assert "Traceback" in text
    assert SECRET not in text
    assert len(text.splitlines()) == 1 or for_people


def test_lines_of_several_processes_do_not_interleave_in_a_pipe() -> None:
    reading, writing = os.pipe()
    many = [b'{"number":%d,"filling":"%b"}\n' % (i, b"x" * (i % 300)) for i in range(2000)]
    received: list[bytes] = []

    def read() -> None:
        while data := os.read(reading, PIPE_BYTES):
            received.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=LogHandler(writing).write, args=(many,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    os.close(writing)
    reader.join()
    os.close(reading)
    found = [json.loads(line) for line in b"".join(received).splitlines()]
    assert sorted(line["number"] for line in found) == sorted([*range(2000)] * 3)


def test_the_line_of_a_request_is_valid_json() -> None:
    line = LogHandler(2).request(
        "2026-01-02T03:04:05.678901Z", b"a-1", "POST", "/predict", 503, 0.0123456, b"ab" * 16, "x"
    )
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678901Z",
        "level": "info",
        "event": "request",
        "request_id": "a-1",
        "method": "POST",
        "route": "/predict",
        "status": 503,
        "duration": 0.012346,
        "trace_id": "ab" * 16,
        "problem": "x",
    }


def test_a_log_without_a_reader_does_not_block() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = LogHandler(writing)
    lines.write([b'{"event":"request"}\n'])
    logger(lines).info("as well")
    os.close(writing)


def test_a_terminal_gets_coloured_columns() -> None:
    script = (
        "import logging; from app.observability import logs; logs.set_up(); "
        "logging.getLogger('app').warning('hello %s', 'you')"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], stderr=theirs, cwd=ROOT) as process:
        assert process.wait(60) == 0
    os.close(theirs)
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "hello you" in text
    assert "warning" in text
    assert "{" not in text
