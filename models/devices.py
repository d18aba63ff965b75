"""The device that runs networks, by name."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import DeviceError
from models.inference import runtimes

if TYPE_CHECKING:
    import torch

_DRIVERS = tuple(map(Path, ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")))
"""What the drivers of NVIDIA's GPUs (of Tegra and Windows' Linux as well) and of AMD's make on Linux."""


def available() -> list[str]:
    """The names that `resolve` accepts on this machine. Imports torch, if it is there."""
    names = ["auto", "cpu"]
    if not runtimes.is_installed("torch"):
        return names
    import torch

    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def resolve(name: str) -> str:
    """Returns the name of a device; `auto` prefers CUDA, then MPS, then the CPU.

    Raises DeviceError for a device that this machine lacks, so that a service set up for a GPU never runs on the CPU.
    Imports torch only if the device may be a GPU.
    """
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return "cpu"
    names = available()
    if name not in names:
        raise DeviceError(f"device {name!r} is not available here; choose one of {', '.join(names)}")
    return name if name != "auto" else next((device for device in ("cuda", "mps") if device in names), "cpu")


def _may_have_gpu() -> bool:
    return sys.platform == "darwin" or any(driver.exists() for driver in _DRIVERS)


def fast_bfloat16(device: "torch.device") -> bool:
    """Whether the device has hardware for bfloat16; emulated bfloat16 is slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
