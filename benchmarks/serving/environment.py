"""The environments that other servers run in, each made once and kept under build/.

Those that run PyTorch see the libraries of the running environment through a .pth file, so that torch is the same and
is not downloaded again; pip adds what they need besides, in versions of their own where they differ.
"""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT, BenchmarkError, say


@dataclass(frozen=True)
class Environment:
    """requirements: what pip installs; shared: whether the running environment's libraries are seen as well."""

    requirements: Sequence[str]
    shared: bool = False


FASTAPI, LIT, BENTO, MLSERVER, ONNXRUNTIME = "0.165.0", "0.2.19", "1.4.39", "1.7.1", "1.32.0"
_ONNX = (f"onnxruntime=={ONNXRUNTIME}", "numpy==2.4.6", "pillow==13.0.0")
ENVIRONMENTS = {
    "litserve": Environment((f"litserve=={LIT}",), shared=True),
    "bentoml": Environment((f"bentoml=={BENTO}",), shared=True),
    "mlserver": Environment((f"mlserver=={MLSERVER}", "uvloop==0.23.0", *_ONNX)),
    "fastapi-onnx": Environment(
        (f"fastapi=={FASTAPI}", "uvicorn[standard]==0.54.0", "python-multipart==0.0.34", *_ONNX)
    ),
}


def prepare(name: str) -> Path:
    """The bin folder of the environment of this name. Raises BenchmarkError when it cannot be made."""
    environment = ENVIRONMENTS[name]
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    shared = shared if environment.shared else []
    key = hashlib.sha256("\n".join([sys.version, *shared, *environment.requirements]).encode()).hexdigest()[:12]
    folder = ROOT / "build" / "benchmarks" / f"{name}-{key}"
    ready = folder / ".ready"
    if ready.exists():
        return folder / "bin"

    say(f"installing {', '.join(environment.requirements)} into {folder.relative_to(ROOT)}, once")
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "shared.pth").write_text("".join(f"{path}\n" for path in shared))
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    _run(*pip, *environment.requirements)
    ready.touch()
    return folder / "bin"


def _run(*command: str) -> None:
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode != 0:
        lines = (found.stderr or found.stdout).strip().splitlines()[-5:]
        raise BenchmarkError("\n".join([f"{' '.join(command)} ended with {found.returncode}:", *lines]))
