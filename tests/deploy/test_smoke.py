"""deploy/smoke, on the service with everything but HOME and /tmp unwritable; on an image it is run by hand."""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import services
from tests.support.environment import ROOT
from tests.support.service import free_port

SMOKE = ROOT / "deploy/smoke"
CONTAINED = Path(__file__).parent / "contained"


def smoke(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SMOKE, *arguments], env={**os.environ, **variables}, capture_output=True, text=True)


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def contained() -> Path:
    """A program that makes everything but its mounts and /tmp unwritable."""
    probe = [CONTAINED, "run", "sh", "-c", "touch /var/lib/probe /dev/shm/probe && echo written || echo refused"]
    result = subprocess.run(probe, capture_output=True, text=True)
    if result.returncode != 0:
        services.missing(f"a mount namespace of our own needs root and util-linux: {result.stderr.strip()[-200:]}")
    assert result.stdout == "refused\n"
    return CONTAINED


@pytest.mark.services
@pytest.mark.parametrize("retrains", [True, False])
def test_it_passes_where_only_home_and_tmp_can_be_written(
    retrains: bool, contained: Path, data_folder: Path, tmp_path: Path
) -> None:
    program = shlex.join([sys.executable, str(ROOT / "inkling.py"), "serve"])
    settings = {"PORT": free_port(), "INITIAL_MODEL": "net", "WORKERS": 1, "RUN_JOBS": retrains}
    options = " ".join(f"-e INKLING_{name}={value}" for name, value in settings.items())
    result = smoke(
        *([] if retrains else ["--serve"]),
        f"{contained} run {options} {program}",
        INKLING_DATA=str(data_folder if retrains else tmp_path),
        TMPDIR=str(tmp_path),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    names = [line.partition(":")[0] for line in result.stdout.splitlines()]
    learning = "retrain" if retrains else "no_retraining"
    checks = ["ready", "predict", "health_check", "key", "feedback", learning, "owner", "stop"]
    assert names == [*(f"ok {check}" for check in checks), "PASS 8 checks"]
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    "command, last, words",
    [
        ("sh -c 'echo no such image; exit 125' run", "FAIL ready", ["no such image", "status 125 before it was ready"]),
        ("no-such-batcher run inkling", "FAIL start", ["no-such-batcher"]),
    ],
)
def test_a_container_that_does_not_start(command: str, last: str, words: list[str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    temporary = tmp_path / "temporary"
    (data / "MNIST/raw").mkdir(parents=True)
    temporary.mkdir()
    port = f" -e INKLING_PORT={free_port()}"
    result = smoke(command + port, INKLING_DATA=str(data), TMPDIR=str(temporary))
    assert (result.returncode, result.stdout.splitlines()[-1]) == (1, last)
    for word in words:
        assert word in result.stderr
    assert left_over(temporary) == []


def test_a_taken_port(tmp_path: Path) -> None:
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = smoke(f"docker run -p {port}:8000 inkling", INKLING_DATA=str(tmp_path))
    assert (result.returncode, result.stdout) == (1, "FAIL start\n")
    assert f"port {port} is taken" in result.stderr


def test_what_was_asked_wrongly(tmp_path: Path) -> None:
    for arguments in ([], ["docker inkling"], ["docker run", "inkling"], ["--serve"], ["docker run", "--serve"]):
        result = smoke(*arguments)
        assert result.returncode == 2
        assert result.stderr.splitlines()[-1] == "error: expected a command with `run`, alone or after --serve"
    result = smoke("docker run inkling", INKLING_DATA=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr == f"error: MNIST is not in {tmp_path}; INKLING_DATA names the folder that holds MNIST/raw\n"
