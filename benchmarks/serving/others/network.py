"""What all the other sides share: the released `net`, and a tile read the way that tutorials read it."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.inference import networks

WEIGHTS = Path(__file__).parents[3] / "models" / "released" / "net" / "weights.pt"


def load() -> torch.nn.Module:
    torch.set_num_threads(1)
    network = networks.create("net")
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return network.eval()


def tensor(image: Image.Image) -> torch.Tensor:
    """Float32 [1, 28, 28] in 0..1, as torchvision's ToTensor() makes it, without its import."""
    return torch.from_numpy(np.array(image.convert("L").resize((28, 28)), np.float32) / 255).unsqueeze(0)


def read(data: bytes) -> torch.Tensor:
    return tensor(Image.open(io.BytesIO(data)))


def answers(logits: torch.Tensor) -> list[dict[str, object]]:
    """Logits [N, 10] to one answer a picture."""
    probabilities = torch.softmax(logits, dim=1).tolist()
    return [{"digit": row.index(max(row)), "confidence": max(row), "probabilities": row} for row in probabilities]
