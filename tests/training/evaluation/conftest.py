"""Ten printed digits, a predictor that recognises exactly those, and its evaluation: no data set and no training."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from models.inference.calibration import Calibration
from models.inference.predictor import Predictor
from models.inference.torch_predictor import TorchPredictor
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.data.mnist import Digits
from training.evaluation.datasets import of_digits
from training.evaluation.evaluate import Evaluation, evaluated, generated
from training.progress import Report


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
    """Answers with the printed digit that resembles the tile most, and is unsure if none does."""
    templates = printed.images.reshape(10, 784).double()
    templates /= templates.norm(dim=1, keepdim=True)
    # Rows that give 1 for their own template and 0 for the others.
    weights = torch.linalg.pinv(templates).T
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))
    network[1].weight = nn.Parameter(weights.float())
    return TorchPredictor(network, Calibration(temperature=0.5, threshold=0.9), "printed")


@pytest.fixture(scope="session")
def evaluation(printed: Digits, predictor: Predictor) -> Evaluation:
    """The printed digits as a data set, with 0 and 1 labelled as 5, and three pictures of every generated kind."""
    labels = printed.labels.clone()
    labels[:2] = 5
    datasets = [("data sets", of_digits("MNIST test", Digits(printed.images, labels)))]
    datasets += generated(printed, printed, pictures=3, seed=0)
    return Evaluation("v7 <b>", 0, evaluated(predictor, datasets, Report(quiet=True)))
