"""A thousand digits that no model was trained on, sent to a whole service over HTTP."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.support.service import Server
from training.data.mnist import Digits

pytestmark = pytest.mark.processes


def as_it_is(tile: np.ndarray) -> np.ndarray:
    return tile


def inverted(tile: np.ndarray) -> np.ndarray:
    return 255 - tile


def enlarged(tile: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(tile).resize((280, 280), Image.Resampling.BICUBIC))


def in_a_corner(tile: np.ndarray) -> np.ndarray:
    canvas = np.full((400, 400), 255, np.uint8)
    canvas[:28, 372:] = 255 - tile
    return canvas


# Preprocessing does not depend on the network.
@pytest.mark.parametrize(
    ("model", "change", "runtime"),
    [
        *(("convnet", change, "onnxruntime") for change in (as_it_is, inverted, enlarged, in_a_corner)),
        *(("net", change, "onnxruntime") for change in (as_it_is, inverted)),
        *(pytest.param("net", change, "onnxruntime", marks=pytest.mark.slow) for change in (enlarged, in_a_corner)),
        *((model, as_it_is, "torch") for model in ("convnet", "net")),
    ],
)
def test_a_thousand_digits_are_predicted(
    model: str,
    change: Callable[[np.ndarray], np.ndarray],
    runtime: str,
    serve: Callable[..., Server],
    test_digits: Digits,
    encode: Callable[..., bytes],
) -> None:
    server = serve(INKLING_INITIAL_MODEL=model, INKLING_RUNTIME=runtime)
    tiles, labels = test_digits.images[:1000].numpy(), test_digits.labels[:1000].tolist()
    read = [server.predict(encode(change(tile)))["digit"] for tile in tiles]
    right = np.mean([digit == label for digit, label in zip(read, labels, strict=True)])
    assert right >= (0.99 if (model, change) == ("convnet", as_it_is) else 0.98)
