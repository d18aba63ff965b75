"""Ten printed digits, and a predictor that knows those ten by heart: no data set and no training needed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from models.inference.calibration import Calibration
from models.inference.predictor import Predictor
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.data.mnist import Digits


@pytest.fixture(scope="session")
def printed(encode: Callable[..., bytes]) -> Digits:
    """One tile of each digit, in order."""
    tiles = []
    for digit in range(10):
        image = Image.new("L", (120, 120))
        ImageDraw.Draw(image).text((60, 60), str(digit), fill=255, font=ImageFont.load_default(90), anchor="mm")
        tiles.append(normalise(decode(encode(image))).pixels)
    return Digits(torch.from_numpy(np.stack(tiles)), torch.arange(10))


@pytest.fixture(scope="session")
def predictor(printed: Digits) -> Predictor:
    """Answers with the printed digit that a tile has most in common with, and is unsure when it is none of them."""
    templates = printed.images.reshape(10, 784).double()
    templates /= templates.norm(dim=1, keepdim=True)
    # Rows that give 1 for their own template and 0 for the others.
    weights = torch.linalg.pinv(templates).T
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))
    network[1].weight = nn.Parameter(weights.float())
    return Predictor(network, Calibration(temperature=0.5, threshold=0.9), "printed", torch.device("cpu"))
