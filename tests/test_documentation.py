"""Every command and every Python example in README.md and docs/*.md is run, in a copy of the checkout.

What is indented or fenced without a language is a command for a shell, or stands in NO_COMMANDS. A command is run as it
stands and has to end with status 0, unless WAYS says otherwise: a new one that can not be run so fails here, until it
can, or until somebody writes down why not.
"""

import contextlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.environment import DATA, ROOT
from tests.support.service import KEY, Server, free_port, serving
from tests.support.waiting import wait_until

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NO_COMMANDS = {
    '{"digit":7,': "an answer",
    '{"time":': "a line of the log",
    "inkling.py   the command line": "the rooms",
    "bytes -> limits": "the way of an image",
}
"""How blocks begin that nobody can run, and what they are."""


@dataclass(frozen=True)
class Example:
    document: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}: {self.text.splitlines()[0]}"


def blocks(document: Path) -> Iterator[tuple[str | None, str]]:
    """(language, text) of each block, "" for one that is indented or names no language; (None, line) of the rest."""
    lines = [*document.read_text().splitlines(), ""]
    at = 0
    while at < len(lines):
        if lines[at].startswith("```"):
            end = lines.index("```", at + 1)
            yield lines[at].removeprefix("```"), "\n".join(lines[at + 1 : end])
            at = end + 1
        elif lines[at].startswith("    ") and not (at and lines[at - 1]):
            block = list(takewhile(lambda line: line.startswith("    "), lines[at:]))
            yield "", "\n".join(line[4:] for line in block)
            at += len(block)
        else:
            yield None, lines[at]
            at += 1


def commands(document: Path) -> list[Example]:
    """The lines of shell blocks, and `.venv/bin/...` and `python -m ...` in running text; each once."""
    found, prose = [], []
    for language, text in blocks(document):
        if language is None:
            prose.append(text)
        elif language in ("", "sh", "bash", "shell", "console") and not text.startswith(tuple(NO_COMMANDS)):
            lines = text.replace("\\\n", "").splitlines()
            found += [re.sub(r"(^|\s+)#.*", "", line).removeprefix("$ ").strip() for line in lines]
    inline = re.findall(r"`((?:\.venv/bin/|python -m )[^`]+)`", "\n".join(prose))
    found += [" ".join(command.split()) for command in inline]
    return [Example(document.name, command) for command in dict.fromkeys(found) if command]


def python_examples(document: Path) -> list[Example]:
    return [Example(document.name, text) for language, text in blocks(document) if language == "python"]


def _each_once(examples: list[Example]) -> list[Example]:
    return list({example.text: example for example in reversed(examples)}.values())[::-1]


COMMANDS = _each_once([example for document in DOCUMENTS for example in commands(document)])


class Place:
    """A folder that looks like a checkout to a command, with a service that has a key, and nobody's pictures."""

    def __init__(self, folder: Path, service: Server) -> None:
        self.folder = folder
        self.service = service
        for path in ROOT.iterdir():
            if not path.name.startswith(".") and path.name not in ("state", "data", "build", "README.md"):
                (folder / path.name).symlink_to(path)
        (folder / ".venv" / "bin").mkdir(parents=True)
        for name, target in (("python", ""), ("inkling", f" {ROOT / 'inkling.py'}")):
            program = folder / ".venv" / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable}{target} "$@"\n')
            program.chmod(0o755)
        for digit in range(10):
            (folder / "digits" / str(digit)).mkdir(parents=True)
        seven = ROOT / "docs" / "pictures" / "seven.png"
        for name in ("mine.png", "another.png", "seven.png", "digit.png", "digits/7/seven.png"):
            shutil.copy(seven, folder / name)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        own = {"INKLING_URL": self.service.url, "INKLING_API_KEY": KEY, "INKLING_DATA": str(DATA), "PATH": path}
        return {**os.environ, **own, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", command.replace("http://127.0.0.1:8000", self.service.url)],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Its retraining jobs succeed at once: what the trainer does is tested in test_runner.py."""
    folder = tmp_path_factory.mktemp("checkout")
    with serving(Settings(home=folder / "state", api_key=KEY)) as service:
        over = threading.Event()

        def train() -> None:
            jobs = service.app.state.jobs  # type: ignore[union-attr]
            while not over.wait(0.05):
                for job in jobs.newest():
                    if not job.ended:
                        jobs.finish(job.id, "succeeded", "better")

        thread = threading.Thread(target=train)
        thread.start()
        try:
            yield Place(folder, service)
        finally:
            over.set()
            thread.join()


def run(place: Place, command: str) -> None:
    """As it stands, to its end."""
    process = place.start(command)
    try:
        out, error = process.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{command}: status {process.returncode}\n{out}{error}"


def evaluate_few_digits(place: Place, command: str) -> None:
    """With --data, so that it takes seconds instead of minutes; in this process, which has torch already."""
    words = shlex.split(command)[1:]
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), pytest.raises(SystemExit) as ended:
        patch.chdir(place.folder)
        patch.setattr(sys, "argv", ["inkling", *words, *([] if "--data" in words else ["--data", "digits"])])
        runpy.run_path("inkling.py", run_name="__main__")
    assert not ended.value.code
    assert "digits" in output.getvalue()


def begin(place: Place, command: str) -> None:
    """Until it says what it trains on, for minutes; then as Ctrl-C ends it."""
    process = place.start(f"exec {command}")
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert "held out, seed 0" in first, error
    assert process.returncode == 130
    assert error.startswith("interrupted; ")


def serve(place: Place, command: str) -> None:
    """Until it answers; then as an operator ends it."""
    port = free_port()
    process = place.start(f"exec {command}", INKLING_PORT=str(port), INKLING_WORKERS="1")
    own = Server(f"http://127.0.0.1:{port}", process)
    try:
        with own.client:
            wait_until(lambda: process.poll() is not None or _is_ready(own))
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, error


def _is_ready(server: Server) -> bool:
    import httpx

    try:
        return server.client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def ask_for_help(place: Place, command: str) -> None:
    """Of a benchmark, which takes minutes: it is there, and has every option that is given."""
    words = shlex.split(command)
    module = words[words.index("-m") + 1]
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [module, "--help"])
        patch.delitem(sys.modules, module, raising=False)  # another test may have imported it
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in output.getvalue()


def name_a_program(_: Place, command: str) -> None:
    assert importlib.util.find_spec(f"{command.split()[-1]}.__main__")


def leave(_: Place, command: str) -> None:
    """Not run, for the reason that stands beside its pattern."""


Way = Callable[[Place, str], None]

WAYS: list[tuple[str, Way, str]] = [
    (r"make \S+|make", leave, "sets up a machine, for minutes; every clean clone begins with it"),
    (r"docker .*", leave, "needs a daemon; what the image runs is tested under deploy"),
    (r"export INKLING_API_KEY=.*", leave, "sets a variable for the commands after it, which have it here too"),
    (r"(\.venv/bin/)?python -m benchmarks\..*", ask_for_help, "takes minutes"),
    (r"python -m training(\.retraining)?", name_a_program, "names the program alone"),
    (
        r"\.venv/bin/(inkling train( --recipe quick| .*--teachers .*| --checkpoint .*)|python -m training .*)",
        begin,
        "takes minutes",
    ),
    (r"\.venv/bin/inkling serve", serve, "has no end"),
    (r"\.venv/bin/inkling evaluate .*", evaluate_few_digits, "takes minutes"),
]


def way_of(command: str) -> Way:
    return next((way for pattern, way, _ in WAYS if re.fullmatch(pattern, command)), run)


@pytest.mark.parametrize("example", COMMANDS, ids=str)
def test_a_command_does_what_it_is_there_for(example: Example, place: Place) -> None:
    way = way_of(example.text)
    trains = re.search(r"inkling train(?!.*--help)|python -m training", example.text)
    if trains and not (DATA / "MNIST" / "raw").is_dir():
        pytest.skip(f"MNIST is not in {DATA}; INKLING_DATA names another folder")
    if way is run and example.text.startswith("curl ") and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    way(place, example.text)


@pytest.mark.parametrize("example", [e for document in DOCUMENTS for e in python_examples(document)], ids=str)
def test_python(example: Example, place: Place) -> None:
    (place.folder / "example.py").write_text(example.text.replace("http://127.0.0.1:8000", place.service.url))
    run(place, ".venv/bin/python -W error example.py")


def test_every_exception_is_still_needed() -> None:
    texts = [example.text for example in COMMANDS]
    whole = "\n".join(document.read_text() for document in DOCUMENTS)
    for start in NO_COMMANDS:
        assert f"    {start}" in whole
    for pattern, _, _ in WAYS:
        assert any(re.fullmatch(pattern, text) for text in texts), pattern


def test_a_command_that_nobody_knows_is_not_passed_over(tmp_path: Path, place: Place) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n    inkling unheard-of  # why\n    curl \\\n    -f x\n\n```\nfalse\n```\n\n```json\n{}\n```\n"
    )
    assert [example.text for example in commands(page)] == ["inkling unheard-of", "curl -f x", "false"]
    for example in commands(page):
        with pytest.raises(AssertionError, match="status"):
            way_of(example.text)(place, example.text)
