"""Every command and every Python example in the documents is run, in a copy of the checkout.

A command is a line of a `sh` block, or text in backquotes that begins with `.venv/bin/`, `python -m` or `make`.
It is run as it stands and has to end with status 0, unless WAYS says otherwise.
"""

import contextlib
import importlib.util
import io
import json
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
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.environment import DATA, ROOT
from tests.support.service import KEY, Server, free_port, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"sh", "python", "json", "text"}

_BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
_INLINE = re.compile(r"`((?:\.venv/bin/|python -m |make )[^`]+)`")


@dataclass(frozen=True)
class Example:
    document: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}: {self.text.splitlines()[0]}"


def commands(document: Path) -> Iterator[Example]:
    text = document.read_text()
    for language, block in _BLOCK.findall(text):
        if language == "sh":
            for line in block.replace("\\\n", "").splitlines():
                if command := re.sub(r"(^|\s+)#.*", "", line).strip():
                    yield Example(document.name, command)
    for command in _INLINE.findall(_BLOCK.sub("", text)):
        yield Example(document.name, " ".join(command.split()))


def python_examples(document: Path) -> list[Example]:
    blocks = _BLOCK.findall(document.read_text())
    return [Example(document.name, text) for language, text in blocks if language == "python"]


def each_once(examples: Iterator[Example]) -> list[Example]:
    first: dict[str, Example] = {}
    for example in examples:
        first.setdefault(example.text, example)
    return list(first.values())


COMMANDS = each_once(example for document in DOCUMENTS for example in commands(document))
PYTHON_EXAMPLES = [example for document in DOCUMENTS for example in python_examples(document)]


class Checkout:
    """A folder that looks like a checkout to a command, beside a service with a key."""

    def __init__(self, folder: Path, service: Server) -> None:
        self.folder = folder
        self.service = service
        for path in ROOT.iterdir():
            if not path.name.startswith(".") and path.name not in ("state", "data", "build"):
                (folder / path.name).symlink_to(path)
        (folder / ".venv" / "bin").mkdir(parents=True)
        for name, target in (("python", ""), ("inkling", f" {ROOT / 'inkling.py'}")):
            program = folder / ".venv" / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable}{target} "$@"\n')
            program.chmod(0o755)
        for digit in range(10):
            (folder / "digits" / str(digit)).mkdir(parents=True)
        seven = ROOT / "docs" / "pictures" / "seven.png"
        for name in ("mine.png", "another.png", "digit.png", "digits/7/seven.png"):
            shutil.copy(seven, folder / name)
        (folder / ".curlrc").write_text("fail-with-body\n")  # a refused request is a failed command

    def wait_for_jobs(self) -> None:
        """Waits until the jobs of earlier commands have ended, since one runs at a time."""
        assert self.service.app is not None
        wait_until(lambda: all(job.ended for job in self.service.app.state.jobs.list_newest()))

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "CURL_HOME": str(self.folder),
            "INKLING_API_KEY": KEY,
            "INKLING_DATA": str(DATA),
            "INKLING_URL": self.service.url,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            **variables,
        }
        return subprocess.Popen(
            ["bash", "-c", command.replace("http://127.0.0.1:8000", self.service.url)],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Its retraining jobs succeed at once; tests/app/processes tests the trainer."""
    folder = tmp_path_factory.mktemp("checkout")
    with serving(Settings(home=folder / "state", api_key=KEY)) as service:
        over = threading.Event()

        def end_jobs() -> None:
            jobs = service.app.state.jobs  # type: ignore[union-attr]
            while not over.wait(0.05):
                for job in jobs.list_newest():
                    if not job.ended:
                        jobs.finish(job.id, "succeeded", "better")

        thread = threading.Thread(target=end_jobs)
        thread.start()
        try:
            yield Checkout(folder, service)
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kills the process and all that it started, if they still run at the end."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run(checkout: Checkout, command: str) -> None:
    """Runs the command to its end."""
    with ended(checkout.start(command)) as process:
        out, error = process.communicate(timeout=120)
    assert process.returncode == 0, f"{command}: status {process.returncode}\n{out}{error}"


def run_module(checkout: Checkout, path: str, words: list[str]) -> str:
    """Runs a program in this process, which has imported torch already, and returns its output."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), pytest.raises(SystemExit) as end:
        patch.chdir(checkout.folder)
        patch.setattr(sys, "argv", [path, *words])
        if path.endswith(".py"):
            runpy.run_path(path, run_name="__main__")
        else:
            patch.delitem(sys.modules, path, raising=False)  # another test may have imported it
            runpy.run_module(path, run_name="__main__", alter_sys=True)
    assert not end.value.code
    return output.getvalue()


def evaluate_few_digits(checkout: Checkout, command: str) -> None:
    """Adds --data, so that it takes seconds instead of minutes."""
    words = shlex.split(command)[1:]
    assert "digits" in run_module(
        checkout, "inkling.py", [*words, *([] if "--data" in words else ["--data", "digits"])]
    )


def ask_for_help(checkout: Checkout, command: str) -> None:
    """Checks that a benchmark exists and has every option that the command gives."""
    words = shlex.split(command)
    text = run_module(checkout, words[words.index("-m") + 1], ["--help"])
    assert [word for word in words if word.startswith("--") and word not in text] == []


def begin(checkout: Checkout, command: str) -> None:
    """Starts a long training run, and interrupts it with Ctrl-C once it says what it trains on."""
    with ended(checkout.start(f"exec {command}")) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert "held out, seed 0" in first, error
    assert process.returncode == 130


def serve(checkout: Checkout, command: str) -> None:
    """Starts a service, waits until it is ready, and ends it with SIGTERM."""
    port = free_port()
    with ended(checkout.start(f"exec {command}", INKLING_PORT=str(port), INKLING_WORKERS="1")) as process:
        service = Server(f"http://127.0.0.1:{port}", process)
        with service.client:
            wait_until(lambda: process.poll() is not None or is_ready(service))
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error


def is_ready(service: Server) -> bool:
    import httpx

    try:
        return service.client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def find_program(_: Checkout, command: str) -> None:
    """The text names a program without its arguments."""
    assert importlib.util.find_spec(f"{command.split()[-1]}.__main__")


def find_target(_: Checkout, command: str) -> None:
    """Checks that the Makefile has the target. `make serve` and the tests set up a machine, which takes minutes."""
    target = command.split()[1]
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {target}"


def leave(_: Checkout, command: str) -> None:
    """Not run, for the reason beside its pattern."""


Way = Callable[[Checkout, str], None]

WAYS: list[tuple[str, Way, str]] = [
    (r"make .*", find_target, "sets up a machine, for minutes"),
    (r"uv .*", leave, "downloads gigabytes"),
    (r"\.venv/bin/pre-commit install", leave, "changes the repository"),
    (r"(docker|kubectl) .*", leave, "needs a daemon or a cluster; tests/deploy tests the files"),
    (r"(\.venv/bin/)?python -m benchmarks\..*", ask_for_help, "takes minutes"),
    (r"python -m training(\.retraining)?", find_program, "is only named"),
    (r"\.venv/bin/python -m training\.recompile .*", ask_for_help, "changes a released model"),
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
def test_a_documented_command_works(example: Example, checkout: Checkout) -> None:
    way = way_of(example.text)
    trains = re.search(r"inkling train(?!.*--help)|python -m training", example.text)
    if trains and not (DATA / "MNIST" / "raw").is_dir():
        pytest.skip(f"MNIST is not in {DATA}; INKLING_DATA names another folder")
    if way is run and example.text.startswith("curl ") and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    checkout.wait_for_jobs()
    way(checkout, example.text)


@pytest.mark.parametrize("example", PYTHON_EXAMPLES, ids=str)
def test_a_documented_python_example_works(example: Example, checkout: Checkout) -> None:
    (checkout.folder / "example.py").write_text(example.text.replace("http://127.0.0.1:8000", checkout.service.url))
    run(checkout, ".venv/bin/python -W error example.py")


def test_the_readme_shows_the_real_answer(server: Server) -> None:
    # Not the service of the checkout, in which documented commands train and activate versions.
    (shown,) = (
        json.loads(text) for language, text in _BLOCK.findall((ROOT / "README.md").read_text()) if language == "json"
    )
    answer = server.predict((ROOT / "docs" / "pictures" / "seven.png").read_bytes())
    assert list(answer) == list(shown)
    for member, value in shown.items():
        assert answer[member] == (
            pytest.approx(value, abs=1e-4) if member in ("confidence", "probabilities") else value
        )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_is_fenced_and_names_its_language(document: Path) -> None:
    text = document.read_text()
    assert {language for language, _ in _BLOCK.findall(text)} <= LANGUAGES
    assert not re.search(r"\n\n {4}", _BLOCK.sub("", text)), "an indented block is not tested"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def test_every_file_that_a_document_names_exists() -> None:
    rooms = "app|models|training|tests|benchmarks|deploy|docs"
    for document in DOCUMENTS:
        for path in re.findall(rf"`((?:{rooms})/[\w./-]+)`", document.read_text()):
            if not re.search("/[A-Z]{4}", path):  # as models/released/NAME
                assert (ROOT / path).exists(), f"{document.name} names {path}"


def test_every_exception_is_still_needed() -> None:
    for pattern, _, _ in WAYS:
        assert any(re.fullmatch(pattern, example.text) for example in COMMANDS), pattern


def test_an_unknown_command_is_run_and_fails(tmp_path: Path, checkout: Checkout) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text\n\n```sh\ninkling unheard-of  # why\ncurl \\\n    -f x\nfalse\n```\n\n```json\n{}\n```\n")
    found = [example.text for example in commands(page)]
    assert found == ["inkling unheard-of", "curl     -f x", "false"]
    for command in found:
        with pytest.raises(AssertionError, match="status"):
            way_of(command)(checkout, command)
