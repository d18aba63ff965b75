"""A version's compiled model, run by ONNX Runtime on one thread of the CPU."""

import re

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.errors import BrokenVersion, InferenceFailed
from models.inference.calibration import Calibration
from models.inference.predictor import Predictor, Tiles
from models.preprocessing.normalise import TILE_SIDE

TILES, LOGITS = "tiles", "logits"
INPUT = (TILES, "tensor(uint8)", ["N", TILE_SIDE, TILE_SIDE])
OUTPUT = (LOGITS, "tensor(float)", ["N", 10])

_PLACE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (/\S+:\d+ .*?\) )?")


class OnnxPredictor(Predictor):
    """compiled: an ONNX model with INPUT and OUTPUT. Raises BrokenVersion for any other."""

    any_size = True

    def __init__(self, compiled: bytes, calibration: Calibration, model: str, precision: str) -> None:
        super().__init__(calibration, model, "cpu", f"onnxruntime-{precision}")
        try:
            self._session = onnxruntime.InferenceSession(compiled, _options(), providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class
            raise BrokenVersion(
                f"onnxruntime {onnxruntime.__version__} cannot load the model.onnx of {model}: {_reason(error)}"
            ) from error
        inputs, outputs = (
            [(one.name, one.type, one.shape) for one in found]
            for found in (self._session.get_inputs(), self._session.get_outputs())
        )
        if (inputs, outputs) != ([INPUT], [OUTPUT]):
            raise BrokenVersion(
                f"the model.onnx of {model} maps {inputs} to {outputs}; expected {[INPUT]} to {[OUTPUT]}"
            )

    def forward(self, tiles: Tiles) -> NDArray[np.float32]:
        try:
            logits: NDArray[np.float32] = self._session.run([LOGITS], {TILES: tiles})[0]
        except Exception as error:  # its errors have no common class
            raise InferenceFailed(f"the forward pass failed: {_reason(error)}") from error
        return logits


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # A small forward pass gains nothing from threads, and those of several workers would compete.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Neither makes a network as small as these faster, and both keep memory.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 4  # what fails is raised as well
    return options


def _reason(error: Exception) -> str:
    """The message on one line, without the place in ONNX Runtime's code."""
    return _PLACE.sub("", " ".join(str(error).split()))[:300]
