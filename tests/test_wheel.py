"""The wheel works by itself: static files, migrations and released models are in it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.environment import ROOT
from tests.support.service import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services

COPIED = ("pyproject.toml", "README.md", "inkling.py", "app", "models", "training")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel, and sees this one's other packages, but nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in COPIED:  # setuptools leaves build folders beside what it builds
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run(build, check=True, capture_output=True)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python = environment / "bin" / "python"
    (wheel,) = folder.glob("inkling-*.whl")
    subprocess.run([*pip, "--python", python, "install", *offline, wheel], check=True, capture_output=True)
    return environment / "bin" / "inkling"


@pytest.fixture
def service(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a service from the wheel, far from the checkout."""
    port = free_port()
    variables = {"INKLING_HOME": str(tmp_path / "home"), "INKLING_PORT": str(port), "INKLING_WORKERS": "1"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([installed, "serve"], cwd=tmp_path, env={**os.environ, **variables}, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or is_ready(url))
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield url
    finally:
        process.terminate()
        assert process.wait(60) == 0


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_it_predicts_and_has_its_page_and_its_tables(service: str) -> None:
    picture = (ROOT / "docs/pictures/seven.png").read_bytes()
    assert httpx.post(f"{service}/predict", content=picture).json()["digit"] == 7
    page = httpx.get(f"{service}/")
    assert page.status_code == 200
    assert "page/main.js" in page.text
    assert httpx.get(f"{service}/page/main.js").status_code == 200
    assert httpx.get(f"{service}/docs").status_code == 200
    assert httpx.get(f"{service}/retrain").json() == {"jobs": []}


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_it_has_the_trainer(command: str, installed: Path, tmp_path: Path) -> None:
    found = subprocess.run([installed, command, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout
