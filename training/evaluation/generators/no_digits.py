"""Outliers: pictures of no digit, which should be answered `unsure`.

They are for measuring alone: no model is trained on these pictures, fonts or shapes.
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from training.evaluation.generators.handwriting import drawn, points_of, smooth
from training.evaluation.generators.rendering import Pixels, Plane, cropped, encode, placed, redrawn, slanted, stroked

OutlierGenerator = Callable[[Generator, Pixels], bytes]
"""Composes an encoded picture, if need be from tiles of digits, uint8 [N, 28, 28]."""

# Letters that look like a digit at another size (O o I l S s Z z B b g q), and such signs, are left out.
LETTERS = "ACDEFGHJKLMNPQRTUVWXYacdefhijkmnprtuvwxy"
SIGNS = "?&%#@*+=<>~^{}"

CAPITALS = [
    "0,1 .5,0; .5,0 1,1; .2,.62 .8,.62",
    ".1,0 .1,1; .1,0 .9,0; .1,.5 .75,.5; .1,1 .9,1",
    ".1,0 .1,1; .1,0 .9,.02; .1,.48 .75,.5",
    ".05,0 .05,1; .95,0 .95,1; .05,.5 .95,.5",
    ".1,0 .1,1; .9,0 .1,.5; .1,.5 .95,1",
    "0,1 .08,0; .08,0 .5,.7; .5,.7 .92,0; .92,0 1,1",
    ".05,1 .05,0; .05,0 .95,1; .95,1 .95,0",
    ".1,1 .1,0; .1,0 .8,.05 .8,.45 .1,.5; .3,.5 .95,1",
    "0,0 .25,1; .25,1 .5,.25; .5,.25 .75,1; .75,1 1,0",
    "0,0 1,1; 1,0 0,1",
    ".1,.5 .9,.5; .5,.05 .5,.95; .2,.15 .8,.85; .8,.15 .2,.85",
    ".1,0 .05,.6 .4,1 .85,.7 .9,0",
]
"""Capital letters and an asterisk, as forms of handwriting.py."""
GARMENTS = {
    "shirt": "2,1 3.8,.5 5,1.1 6.2,.5 8,1 9.9,3.8 8.4,4.8 7.4,3.4 7.4,9.5 2.6,9.5 2.6,3.4 1.6,4.8 .1,3.8",
    "pullover": "2.2,1 4,.6 5,1 6,.6 7.8,1 9.4,8.4 8,8.8 7,3.6 7.2,9.4 2.8,9.4 3,3.6 2,8.8 .6,8.4",
    "trousers": "2.9,.4 7.1,.4 7.9,9.6 5.8,9.6 5,3.2 4.2,9.6 2.1,9.6",
    "dress": "3.6,.4 4.2,.9 5.8,.9 6.4,.4 6.5,3.6 8.4,9.6 1.6,9.6 3.5,3.6",
    "boot": "2,.5 5.2,.5 5.4,5.6 9.4,7.1 9.7,9.2 1.6,9.2",
    "shoe": ".4,4.8 2.2,4.2 3.6,5.2 6,5.4 9.5,7 9.6,8.4 .4,8.4",
    "bag": "1,4 2.6,4 3.4,1.4 6.6,1.4 7.4,4 9,4 9.4,9.2 .6,9.2",
}
"""Outlines as points (right,down) in 0..10."""


def letters(rng: Generator, _: Pixels) -> bytes:
    """Letters and signs in the font that comes with Pillow."""
    return _lettered(rng, ImageFont.load_default(int(rng.integers(60, 140))))


def letters_in_more_fonts(rng: Generator, _: Pixels) -> bytes:
    """Letters and signs in the upright and oblique, serif and sans-serif fonts that come with Matplotlib."""
    return _lettered(rng, ImageFont.truetype(_fonts()[rng.integers(len(_fonts()))], int(rng.integers(60, 140))))


def drawn_letters(rng: Generator, _: Pixels) -> bytes:
    form = CAPITALS[int(rng.integers(len(CAPITALS)))]
    length = int(rng.integers(60, 200))
    return _on_screen(rng, drawn(rng, form, length, length * rng.uniform(0.05, 0.13)))


def noise(rng: Generator, _: Pixels) -> bytes:
    """Uniform, normal or black-and-white noise, grey or coloured, coarse or fine."""
    side = int(rng.choice([28, 28, 64, 150]))
    shape = (side, side) if rng.random() < 0.6 else (side, side, 3)
    levels = [
        rng.uniform(0, 255, shape),
        rng.normal(128, rng.uniform(20, 80), shape),
        255.0 * (rng.random(shape) < rng.uniform(0.2, 0.5)),
    ][int(rng.integers(3))]
    block = int(rng.choice([1, 1, 2, 4]))
    return encode(levels[::block, ::block].repeat(block, 0).repeat(block, 1)[:side, :side])


def smooth_texture(rng: Generator, _: Pixels) -> bytes:
    """Clouds, gradients, ripples and checks."""
    side = int(rng.choice([28, 64, 160, 300]))
    down, right = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    angle, waves = rng.uniform(0, math.pi), rng.uniform(2, 9)
    across = right * math.cos(angle) + down * math.sin(angle)
    look = rng.integers(4)
    if look == 0:
        coarse = Image.fromarray(rng.normal(size=rng.integers(3, 9, 2)).astype(np.float32))
        plane = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    elif look == 1:
        plane = across + rng.uniform(-1, 1) * (right - 0.5) ** 2
    elif look == 2:
        plane = np.sin(2 * math.pi * waves * np.hypot(right - rng.random(), down - rng.random()))
    else:
        plane = np.sin(2 * math.pi * waves * across) + np.sin(2 * math.pi * waves * (right * -math.sin(angle) + down))
    low, high = np.sort(rng.uniform(0, 255, 2))
    return encode(low + (high - low) * (plane - plane.min()) / np.ptp(plane))


def clothing(rng: Generator, _: Pixels) -> bytes:
    """Shirts, trousers, dresses, shoes, boots and bags as filled shapes, some with a pattern."""
    points = np.array(points_of(GARMENTS[str(rng.choice(list(GARMENTS)))])) / 10
    points = (points + rng.normal(0, 0.012, points.shape)) * rng.uniform(0.85, 1.0, 2)
    if rng.random() < 0.5:
        points[:, 0] = 1 - points[:, 0]
    side = 224
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in (points * side).tolist()], fill=255)
    cloth = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), np.float32) / 255
    down, right = np.mgrid[:side, :side] / side
    shade = rng.uniform(0.6, 1) + 0.15 * np.sin(rng.uniform(-40, 40) * right + rng.uniform(-40, 40) * down)
    ink: Plane = (cloth * shade).clip(0, 1).astype(np.float32)
    return _on_screen(rng, cropped(ink, 0.05))


def scribble(rng: Generator, _: Pixels) -> bytes:
    """A long random line, or a dense zigzag."""
    count = int(rng.integers(14, 30))
    points = rng.uniform(0.08, 0.92, (count, 2))
    if rng.random() < 0.3:
        points = np.stack([np.linspace(0.1, 0.9, count), np.tile([0.15, 0.85], count)[:count]], axis=1)
        points += rng.normal(0, 0.06, points.shape)
    side = 160
    image = Image.new("1", (side, side))
    ImageDraw.Draw(image).line([(x, y) for x, y in (smooth(points) * side).tolist()], fill=1)
    return _on_screen(rng, cropped(stroked(np.asarray(image), rng.uniform(2, 9)), 0.05))


def two_digits(rng: Generator, tiles: Pixels) -> bytes:
    """Two of the digits side by side, with a narrow gap between them."""
    length = 120
    width = rng.uniform(7, 14)
    chosen = tiles[rng.choice(len(tiles), 2, replace=False)]
    pair = [redrawn(rng, tile, length, width) for tile in chosen]
    gap = round(length * rng.uniform(0.05, 0.3))
    height = max(len(digit) for digit in pair)
    left, right = (np.pad(digit, ((0, height - len(digit)), (0, 0))) for digit in pair)
    return _on_screen(rng, np.hstack([left, np.zeros((height, gap), np.float32), right]))


def _lettered(rng: Generator, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> bytes:
    image = Image.new("L", (320, 320))
    pen = ImageDraw.Draw(image)
    letter = str(rng.choice(list(LETTERS + SIGNS), p=_WEIGHTS))
    pen.text((160, 160), letter, fill=255, font=font, anchor="mm", stroke_width=int(rng.choice([0, 0, 0, 3])))
    ink: Plane = (np.asarray(slanted(rng, image, 1.3)) / 255).astype(np.float32)
    return _on_screen(rng, cropped(ink, 0.05))


_WEIGHTS = np.repeat([0.8 / len(LETTERS), 0.2 / len(SIGNS)], [len(LETTERS), len(SIGNS)])


def _on_screen(rng: Generator, ink: Plane) -> bytes:
    """A PNG in black on white or white on black, at 28 pixels or as it is."""
    side = round(max(ink.shape) * rng.uniform(1.1, 1.8))
    levels = 255 * placed(rng, ink, side, side)
    if rng.random() < 0.4:
        levels = np.asarray(Image.fromarray(levels).resize((28, 28), Image.Resampling.BOX))
    return encode(255 - levels if rng.random() < 0.7 else levels)


@functools.cache
def _fonts() -> list[Path]:
    """The fonts with plain letters that come with Matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [path for path in sorted(folder.glob("DejaVu*.ttf")) if "Display" not in path.name]


OUTLIERS: dict[str, OutlierGenerator] = {
    "letters": letters,
    "letters in more fonts": letters_in_more_fonts,
    "drawn letters": drawn_letters,
    "noise": noise,
    "smooth textures": smooth_texture,
    "clothing": clothing,
    "scribbles": scribble,
    "two digits": two_digits,
}
