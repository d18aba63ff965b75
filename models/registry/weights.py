"""The weights of a version as bytes: what torch.save writes of a plain state_dict of CPU tensors."""

import io
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.errors import BrokenVersion
from models.inference import networks


def load(data: bytes, network: str, name: str) -> nn.Module:
    """The network of that name with these weights, on the CPU. Raises BrokenVersion, which says `name`."""
    try:
        found = networks.restore(network, torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises whatever the unpickler met
        reason = " ".join(str(error).split())[:300]
        raise BrokenVersion(f"the weights of {name} do not fit network {network!r}: {reason}") from error
    if not all(tensor.isfinite().all() for tensor in found.state_dict().values()):
        raise BrokenVersion(f"the weights of {name} hold values that are not finite")
    return found


def dump(state_dict: Mapping[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in state_dict.items()}, buffer)
    return buffer.getvalue()
