"""The device that runs networks, by name."""

import torch

from models.errors import DeviceError


def available() -> list[str]:
    """The names that `resolve` accepts on this machine."""
    names = ["auto", "cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def resolve(name: str) -> torch.device:
    """Returns the device of that name; `auto` prefers CUDA, then MPS, then the CPU.

    Raises DeviceError for a device that this machine lacks, so that a service set up for a GPU never runs on the CPU.
    """
    names = available()
    if name not in names:
        raise DeviceError(f"device {name!r} is not available here; choose one of {', '.join(names)}")
    if name != "auto":
        return torch.device(name)
    return torch.device(next((device for device in ("cuda", "mps") if device in names), "cpu"))


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device has hardware for bfloat16; emulated bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
