"""`python -m models.compilation VERSION TARGET`: compiles a version that brings no `model.onnx`, for the registry.

VERSION is its folder. TARGET is made, with the version's manifest, completed, and its model.onnx. That is in float32,
which answers as the weights do: without held-out data nobody can say that int8 is no worse, or calibrate it.
"""

import hashlib
import sys
from pathlib import Path

from models.compilation.compiler import compile_network
from models.errors import InklingError
from models.inference import parity
from models.inference.onnx_predictor import OnnxPredictor
from models.inference.torch_predictor import unfused_answers
from models.registry import version_files
from models.registry.manifest import MANIFEST, CompiledModel
from models.registry.version_files import COMPILED


def compile_version(folder: Path, target: Path) -> None:
    """Raises BrokenVersion for a version that does not load, or gives other answers when compiled."""
    version = version_files.read(folder)
    network, calibration = version.network(), version.manifest.calibration
    compiled = compile_network(network)
    predictor = OnnxPredictor(compiled, calibration, version.name, "float32")
    parity.check(predictor, unfused_answers(network, calibration))
    described = CompiledModel(
        precision="float32",
        sha256=hashlib.sha256(compiled).hexdigest(),
        calibration=calibration,
        metrics=version.manifest.metrics,
        answers=parity.answers(predictor).round(6).tolist(),
    )
    target.mkdir()
    (target / COMPILED).write_bytes(compiled)
    manifest = version.manifest.model_copy(update={"compiled": described})
    (target / MANIFEST).write_text(f"{manifest.model_dump_json(indent=2)}\n")


if __name__ == "__main__":
    try:
        compile_version(*map(Path, sys.argv[1:]))
    except InklingError as error:
        sys.exit(str(error))
