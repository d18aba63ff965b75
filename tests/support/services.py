"""Foreign programs that tests run. Where one is missing a test skips and says so; in CI that is a failure."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


def find(program: str, package: str, *, also_in: str = "") -> Path:
    """The path of a program that Debian's `package` installs; `also_in` is a glob of folders off the PATH."""
    folders = sorted(Path("/").glob(also_in.lstrip("/")), reverse=True) if also_in else []
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    found = shutil.which(program, path=path)
    if found is None:
        missing(f"{program} is not installed; on Debian: apt-get install {package}")
    return Path(found).resolve()


def missing(reason: str) -> NoReturn:
    """Skips the test, or fails it where services are required."""
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)
