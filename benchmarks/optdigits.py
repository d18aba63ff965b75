"""1,797 digits written by 13 people in Turkey, as pictures that `inkling evaluate --data FOLDER` measures on.

    python -m benchmarks.optdigits FILE FOLDER

FILE is optdigits.tes of UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998, CC BY 4.0), or what
scikit-learn ships of it, sklearn/datasets/data/digits.csv.gz: lines of 8x8 counts of ink from 0 to 16, row by row, and
the digit. Each becomes a PNG of 96 pixels, enlarged eight times with an empty margin, as the digits touch their edges.
"""

import argparse
import gzip
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, MOST, MARGIN, ENLARGED = 8, 16, 2, 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optdigits", description="UCI's digits as pictures.")
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path, help="new or empty")
    options = parser.parse_args()
    try:
        lines = _lines(options.file)
        if not lines:
            parser.error(f"{options.file} is empty")
        pictures = [_picture(line, f"{options.file}, line {number}") for number, line in enumerate(lines, start=1)]
        options.folder.mkdir(parents=True, exist_ok=True)
        if any(options.folder.iterdir()):
            parser.error(f"{options.folder} is not empty")
        for number, (label, picture) in enumerate(pictures, start=1):
            place = options.folder / str(label)
            place.mkdir(exist_ok=True)
            picture.save(place / f"{number:04}.png")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        parser.error(" ".join(str(error).split()))
    print(f"wrote {len(pictures):,} pictures into {options.folder}")


def _lines(file: Path) -> list[str]:
    data = file.read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("ascii").splitlines()


def _picture(line: str, where: str) -> tuple[int, Image.Image]:
    expected = f"{where}: expected {SIDE**2} whole numbers from 0 to {MOST} and a digit"
    try:
        *counts, label = map(float, line.split(","))
    except ValueError:
        raise ValueError(expected) from None
    if len(counts) != SIDE**2 or label not in range(10) or not set(counts) <= set(range(MOST + 1)):
        raise ValueError(expected)
    grey = np.rint(np.array(counts).reshape(SIDE, SIDE) * (255 / MOST)).astype(np.uint8)
    side = ENLARGED * (SIDE + 2 * MARGIN)
    return int(label), Image.fromarray(np.pad(grey, MARGIN)).resize((side, side), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
