"""The library that runs networks, by name: what a service may choose on a CPU. On a GPU it is always torch."""

import importlib.util
from typing import Literal

from models.errors import DeviceError

Runtime = Literal["auto", "onnxruntime", "torch"]
"""onnxruntime runs a version's compiled model; torch its weights; auto takes the first if library and model exist."""


def is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def resolve(runtime: Runtime, device: str) -> Literal["onnxruntime", "torch"]:
    """The library for a device. Raises DeviceError if it is not installed."""
    chosen: Literal["onnxruntime", "torch"]
    if device != "cpu":
        chosen = "torch"
    elif runtime == "auto":
        chosen = "onnxruntime" if is_installed("onnxruntime") else "torch"
    else:
        chosen = runtime
    if not is_installed(chosen):
        raise DeviceError(f"the runtime {chosen} is not installed; install it, or choose another by INKLING_RUNTIME")
    return chosen
