"""Which device computes."""

import torch

from models.errors import DeviceError


def available() -> list[str]:
    """Names that `resolve` accepts on this machine."""
    names = ["auto", "cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def resolve(name: str) -> torch.device:
    """The device of that name; `auto` prefers CUDA, then MPS, then the CPU.

    Raises DeviceError for a device that is not there: a service asked for a GPU must not run on the CPU unnoticed.
    """
    names = available()
    if name not in names:
        raise DeviceError(f"device {name!r} is not available here; available are {', '.join(names)}")
    if name != "auto":
        return torch.device(name)
    return torch.device(next((best for best in ("cuda", "mps") if best in names), "cpu"))


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
