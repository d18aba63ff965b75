"""Saved versions to activate."""

import torch

from models.inference import networks
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry


def another(saved: ModelRegistry) -> str:
    """The name of a new, untrained version."""
    torch.manual_seed(5)
    return saved.write(networks.create("net").state_dict(), Manifest(network="net"))
