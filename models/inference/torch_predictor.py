"""A version's weights, run by PyTorch on any device."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.errors import DeviceLost, InferenceFailed
from models.inference import networks, parity
from models.inference.calibration import Calibration
from models.inference.predictor import Predictor, Tiles


class TorchPredictor(Predictor):
    """Fuses the network for inference in place, after which it cannot be trained."""

    def __init__(self, network: nn.Module, calibration: Calibration, model: str, device: str = "cpu") -> None:
        super().__init__(calibration, model, device, "torch")
        # Channels last is the faster layout for small convolutions, on CPU and on CUDA.
        self._network = networks.fuse_batch_norm(network).to(device).to(memory_format=torch.channels_last)

    def forward(self, tiles: Tiles) -> NDArray[np.float32]:
        try:
            with torch.inference_mode():
                inputs = networks.as_input(tiles, self.device).contiguous(memory_format=torch.channels_last)
                logits: NDArray[np.float32] = self._network(inputs).to("cpu", torch.float32).numpy()
        except RuntimeError as error:
            # After an error in a kernel, CUDA fails every later call of the process.
            kind = DeviceLost if isinstance(error, torch.AcceleratorError) else InferenceFailed
            first_line = str(error).strip().partition("\n")[0]
            raise kind(f"the forward pass failed on {self.device}: {first_line}") from error
        return logits


def unfused_answers(network: nn.Module, calibration: Calibration) -> NDArray[np.float64]:
    """The probabilities of the fixed tiles by the network as it was trained, on the CPU, for `parity.check`."""
    network.eval()
    with torch.inference_mode(), np.errstate(invalid="ignore"):  # where logits are not finite, the check says so
        return calibration.probabilities(network(networks.as_input(parity.tiles())).numpy())
