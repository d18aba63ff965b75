"""The environment that LitServe and BentoML run in, made once and kept under build/.

It sees the libraries of the running environment through a .pth file, so that torch is the same and is not downloaded
again; pip adds to it only what the two need besides, in versions of their own where they differ.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import ROOT, BenchmarkError, say

PINS = {"litserve": "0.2.19", "bentoml": "1.4.39"}


def prepare() -> Path:
    """The environment's bin folder. Raises BenchmarkError when it cannot be made."""
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    pins = [f"{name}=={version}" for name, version in PINS.items()]
    key = hashlib.sha256("\n".join([sys.version, *shared, *pins]).encode()).hexdigest()[:12]
    folder = ROOT / "build" / "benchmarks" / f"venv-{key}"
    ready = folder / ".ready"
    if ready.exists():
        return folder / "bin"

    say(f"installing {' and '.join(pins)} into {folder.relative_to(ROOT)}, once")
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "shared.pth").write_text("".join(f"{path}\n" for path in shared))
    _run(str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *pins)
    ready.touch()
    return folder / "bin"


def _run(*command: str) -> None:
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode != 0:
        lines = (found.stderr or found.stdout).strip().splitlines()[-5:]
        raise BenchmarkError("\n".join([f"{' '.join(command)} ended with {found.returncode}:", *lines]))
