import subprocess
import sys
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from models.compilation.compiler import compile_network
from models.errors import BrokenVersion, InferenceFailed
from models.inference import networks
from models.inference.batcher import BATCH_SIZES
from models.inference.calibration import Calibration
from models.inference.onnx_predictor import OnnxPredictor
from models.inference.torch_predictor import TorchPredictor
from tests.support.environment import ROOT
from tests.support.versions import compiled

CALIBRATION = Calibration(temperature=0.7, threshold=0.2)
TILES = np.random.default_rng(0).integers(0, 256, (2 * BATCH_SIZES[-1] + 1, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("name", ["convnet", "net", "sequential"])
def test_a_compiled_network_answers_as_its_weights_in_batches_of_any_size(name: str) -> None:
    weights, _, data = compiled(name)
    predictor = OnnxPredictor(data, CALIBRATION, "v1", "float32")
    expected = TorchPredictor(networks.restore(name, weights), CALIBRATION, "v1").logits(TILES)
    for size in (*range(1, 19), *BATCH_SIZES, len(TILES)):
        assert np.abs(predictor.logits(TILES[:size]) - expected[:size]).max() < 1e-4
    assert (predictor.device, predictor.runtime) == ("cpu", "onnxruntime-float32")


def broken(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(compiled()[2])
    change(model)
    data: bytes = model.SerializeToString()
    return data


def later_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 999


def later_format(model: onnx.ModelProto) -> None:
    model.ir_version = 999


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Handwriting"


def other_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "pictures"


def other_side(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 14
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 56


def two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(model.graph.node[0].output[0], TensorProto.UINT8, None)
    )


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "cannot load the model.onnx of v3"),
        (b"no model", "cannot load the model.onnx of v3"),
        (broken(later_opset), "cannot load the model.onnx of v3: .*opset"),
        (broken(later_format), "cannot load the model.onnx of v3: .*IR version"),
        (broken(unknown_operator), "cannot load the model.onnx of v3: .*Handwriting"),
        (broken(other_input), r"the model.onnx of v3 maps .*pictures.*; expected .*tiles"),
        (broken(other_side), r"the model.onnx of v3 maps .*56.* expected .*28"),
        (broken(two_outputs), r"the model.onnx of v3 maps "),
    ],
)
def test_a_model_that_cannot_be_used_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(BrokenVersion, match=reason):
        OnnxPredictor(data, CALIBRATION, "v3", "int8")


def test_tiles_of_another_size_are_an_error() -> None:
    with pytest.raises(InferenceFailed, match="the forward pass failed"):
        OnnxPredictor(compiled()[2], CALIBRATION, "v1", "float32").logits(np.zeros((2, 30, 30), np.uint8))


def test_logits_that_are_not_finite_are_an_error() -> None:
    network = networks.create("net")
    for parameter in network.parameters():
        parameter.data.fill_(1e30)
    predictor = OnnxPredictor(compile_network(network), Calibration(), "v1", "float32")
    with pytest.raises(InferenceFailed, match="v1 gave logits that are not finite"):
        predictor.warm()


@pytest.mark.processes
def test_it_prints_nothing_and_imports_no_torch(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(compiled()[2])
    script = (
        "import sys, numpy, pathlib; from models.inference.calibration import Calibration\n"
        "from models.inference.onnx_predictor import OnnxPredictor\n"
        f"OnnxPredictor(pathlib.Path({str(path)!r}).read_bytes(), Calibration(), 'v1', 'int8').warm()\n"
        "sys.exit('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
