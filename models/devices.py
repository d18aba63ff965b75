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
