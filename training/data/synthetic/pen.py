"""Draws strokes with a pen and letters in fonts, for training only. A drawing is uint8 [N, M], ink 255 on 0."""

import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.errors import DataError
from models.preprocessing.decode import Pixels

CANVAS, SHEET = 84, 120
"""Sides in pixels: of a drawing that stays in its frame, and of one that may lean and stretch out of it."""
OUTLINE_FONTS = (
    *("font_lato", "font_manrope", "font_hanken_grotesk", "font_source_sans_pro"),
    *("font_source_serif_pro", "font_caladea", "font_fredoka_one", "font_intuitive"),
)
"""Packages of fonts, each with several weights and slopes."""


def check() -> None:
    """Raises DataError if a font is not installed."""
    for package in OUTLINE_FONTS:
        _outlines(package)


def written(strokes: list[NDArray[np.float64]], generator: np.random.Generator) -> Pixels:
    """Draws strokes, slanted and bent at random, with a pen of random width.

    A stroke is [N, 2], points (right, down) on a field of about four by six with its middle at (2, 3).
    """
    angle, slant = generator.normal(0, 0.12), generator.normal(0, 0.2)
    width, height = generator.uniform(0.6, 1.2), generator.uniform(0.8, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = turn @ np.array([[width, -slant], [0, height]])
    bend = generator.normal(0, 0.15, (2, 2))
    pen = int(generator.integers(2, 9))
    image = Image.new("L", (SHEET, SHEET))
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        points = (stroke - [2, 3] + generator.normal(0, 0.08, stroke.shape)) @ shape.T
        points = SHEET / 2 + 10 * (points + np.sin(points @ bend))
        draw.line([tuple(point) for point in points], fill=255, width=pen, joint="curve")
        for point in (points[0], points[-1]):
            draw.ellipse([*(point - pen / 2), *(point + pen / 2)], fill=255)
    return np.asarray(image)


def rounded(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cuts the corners of a line [N, 2] three times, after Chaikin; the ends stay. Returns [8 N - 6, 2]."""
    for _ in range(3):
        near, far = points[:-1] * 0.75 + points[1:] * 0.25, points[:-1] * 0.25 + points[1:] * 0.75
        points = np.concatenate([points[:1], np.stack([near, far], 1).reshape(-1, 2), points[-1:]])
    return points


def printed(letters: str, generator: np.random.Generator) -> Pixels:
    """One of the letters in an outline font, slanted, stretched and rotated."""
    family = _outlines(str(generator.choice(OUTLINE_FONTS)))
    font = _outline(family[generator.integers(len(family))])
    image = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    letter = str(generator.choice(list(letters)))
    bold = int(generator.choice([0, 0, 0, 2]))
    ImageDraw.Draw(image).text((CANVAS, CANVAS), letter, fill=255, font=font, anchor="mm", stroke_width=bold)
    angle, slant = generator.normal(0, 0.12, 2)
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, sin + slant], [-sin, cos]]) * generator.uniform(0.8, 1.2, (2, 1))
    left, top = CANVAS - back @ (CANVAS, CANVAS)
    coefficients = (*back[0], left, *back[1], top)
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


@functools.cache
def _outlines(package: str) -> list[Path]:
    """The fonts of a package, each in one format. Raises DataError if there is none."""
    found = importlib.util.find_spec(package)
    paths = sorted((Path(found.origin).parent / "files").glob("*.[ot]tf")) if found and found.origin else []
    files = {path.stem: path for path in paths}
    if not files:
        raise DataError(f"the fonts of {package} are not installed: pip install -e '.[train]'")
    return [files[name] for name in sorted(files)]


@functools.cache
def _outline(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, CANVAS)
