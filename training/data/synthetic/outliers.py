"""Outliers: tiles of no digit, for training only. A network that never sees one is confident about everything.

They are normalised as any image is. The evaluation has fonts and generators of its own and uses none of these.
"""

import contextlib
import functools
import math

import numpy as np
import torch
from HersheyFonts import HersheyFonts
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.errors import NothingDrawn
from models.preprocessing.decode import Picture, Pixels
from models.preprocessing.normalise import normalise
from training.data.mnist import Digits
from training.data.synthetic import pen
from training.progress import Report

# Without letters that look like digits once their size is normalised: O o I l S s Z z B b g q.
GLYPHS = "ACDEFGHJKLMNPQRTUVWXYacdefhijkmnprtuvwxy" * 2 + "?&%#@*+=<>~^{}$;!"
FONTS = (
    *("futural", "futuram", "rowmans", "rowmand", "scripts", "scriptc", "cursive"),
    *("timesr", "timesi", "timesrb", "gothiceng"),
)
PORTION = 700
"""Outliers drawn with one random generator, by one process."""


def bank(digits: Digits, count: int, seed: int, report: Report, processes: int = 1) -> Tensor:
    """About `count` tiles, uint8 [N, 28, 28], of all KINDS in turn; any number of processes draws the same.

    digits: the training digits, of which some kinds are made.
    """
    portions = _Portions(digits, count, seed)
    helpers = min(processes, len(portions))
    # A generator of its own, because the loader draws from it and the network's random state must not depend on that;
    # and arrays instead of tensors, which would go through shared memory, of which containers have little.
    loader = DataLoader(
        portions,
        batch_size=None,
        num_workers=helpers if helpers > 1 else 0,
        collate_fn=np.asarray,
        generator=torch.Generator(),
    )
    drawn = iter(loader)  # forks here, before the bar starts a thread
    tiles = []
    with report.bar("drawing outliers", count) as bar:
        for number, portion in enumerate(drawn):
            tiles.append(portion)
            bar.advance(portions.size(number))
    return torch.from_numpy(np.concatenate(tiles))


class _Portions(Dataset[Pixels]):
    """The bank in portions, uint8 [N, 28, 28], each with a random generator of its own."""

    def __init__(self, digits: Digits, count: int, seed: int) -> None:
        self._images, self._labels = digits.images.numpy(), digits.labels.numpy()
        self._count, self._seed = count, seed

    def __len__(self) -> int:
        return math.ceil(self._count / PORTION)

    def size(self, number: int) -> int:
        return min(PORTION, self._count - number * PORTION)

    def __getitem__(self, number: int) -> Pixels:
        digits = Digits(torch.from_numpy(self._images), torch.from_numpy(self._labels))
        generator = np.random.default_rng([self._seed, number])
        tiles = []
        for i in range(self.size(number)):
            picture = KINDS[i % len(KINDS)](generator, digits)
            with contextlib.suppress(NothingDrawn):
                tiles.append(normalise(Picture(picture)).pixels)
        return np.stack(tiles)


def glyph(generator: np.random.Generator, _: Digits) -> Pixels:
    """A letter or sign in one of Hershey's stroke fonts, written unsteadily."""
    font = _font(str(generator.choice(FONTS)))
    strokes = [np.array(stroke, float) for stroke in font.strokes_for_text(str(generator.choice(list(GLYPHS))))]
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    grid = 6 / max(high - low)
    return pen.written([(stroke - (low + high) / 2) * grid + [2, 3] for stroke in strokes], generator)


def printed(generator: np.random.Generator, _: Digits) -> Pixels:
    """A letter or sign in an outline font."""
    return pen.printed(GLYPHS, generator)


def scribble(generator: np.random.Generator, _: Digits) -> Pixels:
    """One to three rounded random lines."""
    strokes = [generator.uniform(0, 6, (generator.integers(4, 14), 2)) for _ in range(generator.integers(1, 4))]
    return pen.written([pen.rounded(stroke) for stroke in strokes], generator)


def polygon(generator: np.random.Generator, _: Digits) -> Pixels:
    """A filled outline with holes and notches, like clothes, leaves and tools in silhouette."""
    image = Image.new("L", (pen.CANVAS, pen.CANVAS))
    draw = ImageDraw.Draw(image)
    levels = (int(generator.integers(120, 256)), 0, int(generator.integers(60, 256)))
    for level in levels[: generator.integers(1, 4)]:
        corners = int(generator.integers(3, 10))
        angles = np.sort(generator.uniform(0, 2 * np.pi, corners))
        radius = generator.uniform(0.3, 1, corners) * pen.CANVAS * 0.46
        points = pen.CANVAS / 2 + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
        draw.polygon([tuple(point) for point in points], fill=level)
    mirrored = np.asarray(image)
    return np.maximum(mirrored, mirrored[:, ::-1]) if generator.random() < 0.5 else mirrored


def texture(generator: np.random.Generator, _: Digits) -> Pixels:
    """Noise between white and very smooth, or thresholded to blobs."""
    size = int(generator.integers(2, 29))
    noise = generator.random((size, size)).astype(np.float32)
    plane = np.asarray(Image.fromarray(noise).resize((28, 28), Image.Resampling.BICUBIC))
    plane = (plane - plane.min()) / (np.ptp(plane) + 1e-6)
    if generator.random() < 0.5:
        plane = np.clip((plane - generator.uniform(0.3, 0.7)) * generator.uniform(3, 30) + 0.5, 0, 1)
    tile: Pixels = np.rint(plane * 255).astype(np.uint8)
    return np.pad(tile, int(generator.integers(0, 2)))


def gradient(generator: np.random.Generator, _: Digits) -> Pixels:
    """Light that falls off to one side, to a corner or around a spot."""
    down, right = np.mgrid[-1:1:28j, -1:1:28j]
    powers = np.stack([right, down, right * down, right**2, down**2])
    plane = np.tensordot(generator.normal(size=5), powers, 1)
    plane = ((plane - plane.min()) / np.ptp(plane)) ** generator.uniform(1, 6)
    low = generator.uniform(0, 200)
    levels: Pixels = np.rint(low + generator.uniform(40, 255 - low) * plane).astype(np.uint8)
    return levels


def several_digits(generator: np.random.Generator, digits: Digits) -> Pixels:
    """Two or three digits side by side, near or touching; some of these drawings are transposed."""
    chosen = [_cropped(_any(generator, digits)[0]) for _ in range(2 if generator.random() < 0.8 else 3)]
    canvas = np.zeros((40, 100), np.uint8)
    left = 4
    for tile in chosen:
        height, width = tile.shape
        top = 10 + int(generator.integers(-3, 4)) + (20 - height) // 2
        window = canvas[top : top + height, left : left + width]
        window[:] = np.maximum(window, tile)
        left += width + int(generator.integers(-1, 9))
    return canvas if generator.random() < 0.85 else canvas.T.copy()


def broken_digit(generator: np.random.Generator, digits: Digits) -> Pixels:
    """Halves of two digits joined, two digits on top of each other, or a digit on its side."""
    first, first_label = _any(generator, digits)
    second, second_label = _any(generator, digits)
    while second_label == first_label or {first_label, second_label} <= {0, 1, 8}:
        second, second_label = _any(generator, digits)
    match generator.integers(3):
        case 0:
            joined = first.copy()
            half = second[:14] if generator.random() < 0.5 else second[14:]
            joined[14:] = np.roll(half, generator.integers(-5, 6), 1)
            return joined
        case 1:
            return np.maximum(first, np.rot90(second, int(generator.integers(1, 4))))
        case _:
            # On its side, a 0, 1 or 8 looks the same or like another digit.
            lying = first if second_label in (0, 1, 8) else second
            return np.ascontiguousarray(np.rot90(lying, 1 + 2 * int(generator.integers(2))))


KINDS = (
    *(glyph, glyph, glyph, printed, printed, printed, scribble, polygon, texture, gradient),
    *(several_digits, several_digits, several_digits, broken_digit),
)


def _any(generator: np.random.Generator, digits: Digits) -> tuple[Pixels, int]:
    index = int(generator.integers(len(digits)))
    return digits.images[index].numpy(), int(digits.labels[index])


def _cropped(tile: Pixels) -> Pixels:
    rows, columns = np.nonzero(tile)
    return tile[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@functools.cache
def _font(name: str) -> HersheyFonts:
    font = HersheyFonts()
    font.load_default_font(name)
    return font
