"""Saved versions to activate."""

import torch

from models.inference import networks
from models.registry.registry import Manifest, ModelRegistry


def another(saved: ModelRegistry) -> str:
    """The name of a new, untrained version."""
    torch.manual_seed(5)
    return saved.write(networks.create("net").state_dict(), Manifest(network="net"))
