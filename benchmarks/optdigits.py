"""How many of 1,797 digits by 13 writers in Turkey each released model reads correctly.

They are UCI's test set of handwritten digits (Alpaydin and Kaynak 1998, CC BY 4.0), as scikit-learn ships it: 8 x 8
counts of ink from 0 to 16. Each is sent as a PNG of 96 x 96 pixels: enlarged eight times, with an empty margin, since
the digits touch their edges. No model was trained on them.
"""

import argparse
from functools import partial

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks import runner
from benchmarks.pictures import encode
from benchmarks.runner import Report
from benchmarks.tables import table
from models.registry.registry import RELEASED
from models.registry.version_files import read
from training.evaluation.answers import answer
from training.evaluation.datasets import Sample

MOST, MARGIN, ENLARGED = 16, 2, 8


def samples() -> list[Sample]:
    found = load_digits()
    pairs = enumerate(zip(found.images, found.target.tolist(), strict=True), start=1)
    return [Sample(f"optdigits {number}", label, partial(picture, counts)) for number, (counts, label) in pairs]


def picture(counts: np.ndarray) -> bytes:
    """Counts of ink [8, 8] to a PNG."""
    grey = np.pad(np.rint(counts * (255 / MOST)).astype(np.uint8), MARGIN)
    side = ENLARGED * len(grey)
    return encode(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC), "PNG")


def measure(options: argparse.Namespace) -> Report:
    digits = samples()
    predictors = {name: read(RELEASED / name).predictor() for name in ("convnet", "net")}
    right = {name: float(answer(predictor, digits).correct.mean()) for name, predictor in predictors.items()}
    rows = [[name, f"{share:.2%}"] for name, share in right.items()]
    return Report([table(["model", f"right of {len(digits):,}"], rows)], figures={"right": right})


if __name__ == "__main__":
    runner.main(runner.parser("optdigits", __doc__), measure)
