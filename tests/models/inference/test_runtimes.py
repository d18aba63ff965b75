import sys

import pytest

from models.errors import DeviceError
from models.inference import runtimes


@pytest.mark.parametrize(
    "runtime, device, missing, chosen",
    [
        ("auto", "cpu", [], "onnxruntime"),
        ("auto", "cpu", ["onnxruntime"], "torch"),
        ("auto", "cpu", ["torch"], "onnxruntime"),
        ("onnxruntime", "cpu", [], "onnxruntime"),
        ("torch", "cpu", [], "torch"),
        ("auto", "cuda:1", [], "torch"),
        ("onnxruntime", "mps", [], "torch"),
    ],
)
def test_a_cpu_prefers_onnxruntime_and_a_gpu_has_torch(
    runtime: runtimes.Runtime, device: str, missing: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in missing:
        monkeypatch.setitem(sys.modules, library, None)
    assert runtimes.resolve(runtime, device) == chosen


@pytest.mark.parametrize("runtime, missing", [("onnxruntime", ["onnxruntime"]), ("auto", ["onnxruntime", "torch"])])
def test_a_missing_library_is_named(
    runtime: runtimes.Runtime, missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in missing:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DeviceError, match=f"the runtime {missing[-1]} is not installed.*INKLING_RUNTIME"):
        runtimes.resolve(runtime, "cpu")
