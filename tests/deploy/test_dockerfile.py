import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from models.version import VERSION
from tests.support import services
from tests.support.environment import ROOT
from tests.support.service import free_port
from tests.support.waiting import wait_until

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_each_dependency_is_pinned_to_a_version_that_the_project_takes() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned |= {
        name.lower(): version for name, version in re.findall(r"^ARG (TORCH\w*)_VERSION=(.*)$", DOCKERFILE, re.M)
    }
    extras = {name for found in re.findall(r"--editable '\.\[(.*)\]'", DOCKERFILE) for name in found.split(",")}
    assert extras == {"train", "postgresql"}
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in extras)]
    for requirement in (Requirement(line) for group in groups for line in group):
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_the_version_is_the_same_everywhere() -> None:
    assert f'image.version="{VERSION}"' in DOCKERFILE
    assert f"/inkling:{VERSION}\n" in (ROOT / "deploy" / "kubernetes" / "deployment.yaml").read_text()
    assert "version" in PROJECT["dynamic"]  # setuptools reads models/version.py


def test_no_more_is_sent_to_the_build_than_it_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert {name.partition("/")[0] for names in copied for name in names.split()} == set(allowed)


@pytest.fixture
def first_process(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The service below the image's entry point, first in a process namespace; its pid out here, and its URL."""
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)[0])
    command = json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[0])
    services.find(entry[0], "tini")
    isolated = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*isolated, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        services.missing(f"a process namespace of our own needs root: {probe.stderr.strip()}")
    assert entry[-1] == "inkling"
    service = [*entry[:-1], sys.executable, str(ROOT / "inkling.py"), *command]
    port = str(free_port())
    variables = {"INKLING_HOME": str(tmp_path / "home"), "INKLING_PORT": port, "INKLING_WORKERS": "1"}
    process = subprocess.Popen([*isolated, *service], env={**os.environ, **variables})
    try:
        wait_until(lambda: len(children(process.pid)) == 1)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or answers(url))
        yield children(process.pid)[0], url
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.services
def test_the_first_process_reaps_orphans_and_passes_sigterm_on(first_process: tuple[int, str]) -> None:
    first, url = first_process
    service = children(first)
    # The shell ends before its child, which so becomes a child of the first process.
    orphaned = ["nsenter", f"--target={first}", "--pid", "sh", "-c", "sleep 1000 >/dev/null 2>&1 &"]
    subprocess.run(orphaned, check=True)
    wait_until(lambda: len(children(first)) == len(service) + 1)
    (orphan,) = set(children(first)) - set(service)
    os.kill(orphan, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{orphan}").exists())
    assert children(first) == service
    assert answers(url)
    os.kill(first, signal.SIGTERM)
