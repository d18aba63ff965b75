"""Photographs of digits on paper: pen, pencil and crayon, in shadow, faint, in coloured ink, on a table. All JPEG.

A photograph is paper (grain, ruled lines) times the light that ink lets through, times uneven illumination, plus the
noise of a camera. Ink and illumination are float32 [H, W].
"""

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from training.evaluation.generators.drawings import PictureGenerator
from training.evaluation.generators.rendering import Pixels, Plane, encode, evenly_spaced, placed, redrawn, ruled_lines

INKS = {
    "black": (25, 25, 30),
    "blue": (35, 50, 140),
    "red": (185, 30, 40),
    "green": (25, 110, 60),
    "violet": (100, 40, 130),
    "brown": (110, 65, 35),
    "orange": (225, 110, 30),
}


def pen(rng: Generator, tile: Pixels) -> bytes:
    """A ballpoint or fibre pen in black or blue, under a lamp."""
    ink = _digit(rng, tile, rng.uniform(0.035, 0.08))
    return photograph(rng, ink, str(rng.choice(["black", "blue"])), light(rng, ink.shape, 0.35))


def pencil(rng: Generator, tile: Pixels) -> bytes:
    """Grey lead, broken up by the grain of the paper."""
    ink = _digit(rng, tile, rng.uniform(0.035, 0.08))
    ink *= (0.75 + 0.25 * _grain(rng, ink.shape, 1.5)) * rng.uniform(0.5, 0.75)
    return photograph(rng, ink, "black", light(rng, ink.shape, 0.3))


def crayon(rng: Generator, tile: Pixels) -> bytes:
    """Broad wax in any colour, with the paper showing through."""
    ink = _digit(rng, tile, rng.uniform(0.09, 0.15))
    ink *= (0.8 + 0.45 * _grain(rng, ink.shape, 2.5)).clip(0.25, 1)
    return photograph(rng, ink, str(rng.choice(list(INKS))), light(rng, ink.shape, 0.3))


def coloured_ink(rng: Generator, tile: Pixels) -> bytes:
    """A pen in red, green, violet, brown or orange."""
    ink = _digit(rng, tile, rng.uniform(0.04, 0.09))
    return photograph(rng, ink, str(rng.choice(list(INKS)[2:])), light(rng, ink.shape, 0.35))


def in_shadow(rng: Generator, tile: Pixels) -> bytes:
    """A pen, and a shadow with a soft edge across the paper."""
    ink = _digit(rng, tile, rng.uniform(0.045, 0.09))
    return photograph(rng, ink, str(rng.choice(["black", "blue"])), _shadow(rng, ink.shape))


def faint(rng: Generator, tile: Pixels) -> bytes:
    """A dry pen or a hard pencil in poor light: low contrast and a noisy camera."""
    ink = _digit(rng, tile, rng.uniform(0.05, 0.09)) * rng.uniform(0.25, 0.4)
    dim = light(rng, ink.shape, 0.2) * rng.uniform(0.6, 0.9)
    return photograph(rng, ink, str(rng.choice(["black", "blue"])), dim, noise=rng.uniform(2, 4))


def on_a_table(rng: Generator, tile: Pixels) -> bytes:
    """A pen on a sheet that lies askew on a darker table, which is seen on one to four sides."""
    ink = _digit(rng, tile, rng.uniform(0.045, 0.09))
    sheet = _scene(rng, ink, str(rng.choice(["black", "blue"])), light(rng, ink.shape, 0.25))
    seen = rng.random(4) < 0.8
    seen[rng.integers(4)] = True
    above, below, left, right = np.rint(seen * rng.uniform(0.06, 0.5, 4) * np.repeat(ink.shape, 2)).astype(int).tolist()
    margins = [(above, below), (left, right)]
    angle = math.degrees(rng.uniform(-0.15, 0.15)) * bool(seen.all())
    levels = np.pad(np.rint(sheet.clip(0, 255)).astype(np.uint8), [*margins, (0, 0)])
    cover = np.pad(np.full(ink.shape, 255, np.uint8), margins)
    turned, covered = (
        np.asarray(Image.fromarray(plane).rotate(angle, Image.Resampling.BICUBIC), np.float32)
        for plane in (levels, cover)
    )
    brown = rng.uniform(40, 170) * np.array([1, rng.uniform(0.7, 1), rng.uniform(0.5, 0.9)])
    wood = 1 + 0.05 * _grain(rng, cover.shape, rng.uniform(2, 8)) * light(rng, cover.shape, 0.3)
    share = covered[..., None] / 255
    scene = share * turned + (1 - share) * brown * wood[..., None]
    return _camera(rng, scene.astype(np.float32))


def on_ruled_paper(rng: Generator, tile: Pixels) -> bytes:
    """A pen on the lines of school paper, anywhere between or across them."""
    return _on_lines(rng, tile, squared=False, distance=rng.uniform(0.4, 1.2))


def on_squared_paper(rng: Generator, tile: Pixels) -> bytes:
    """A pen on squared paper; the digit is one to four squares high."""
    return _on_lines(rng, tile, squared=True, distance=rng.uniform(0.25, 0.8))


def _on_lines(rng: Generator, tile: Pixels, squared: bool, distance: float) -> bytes:
    """Printed lines, pale to as dark as a pencil; distance: as a share of the digit's length."""
    shape, length = _sheet(rng, 0.35)
    ink = _written(rng, tile, shape, length, length * rng.uniform(0.045, 0.09), margin=0.1)
    lines = ruled_lines(rng, ink.shape, distance * length, squared, tilt=rng.uniform(-3, 3))
    lit = light(rng, ink.shape, 0.3) * (1 - rng.uniform(0.05, 0.6) * lines)
    return photograph(rng, ink, str(rng.choice(["black", "blue"])), lit)


def _digit(rng: Generator, tile: Pixels, width: float) -> Plane:
    """Ink of one digit on a sheet; width: of the stroke, as a share of the digit's length."""
    shape, length = _sheet(rng, 0.3)
    return _written(rng, tile, shape, length, max(2.0, width * length), margin=0.15)


def _sheet(rng: Generator, smallest: float) -> tuple[list[int], int]:
    """Height and width of a sheet, 240 to 480 pixels, and the digit's length, from `smallest` to 0.7 of the shorter."""
    shape: list[int] = rng.integers(240, 481, 2).tolist()
    return shape, round(min(shape) * rng.uniform(smallest, 0.7))


def _written(rng: Generator, tile: Pixels, shape: list[int], length: int, width: float, margin: float) -> Plane:
    digit = redrawn(rng, tile, length, width)
    height, breadth = shape
    return placed(rng, digit, height, breadth, tuple(rng.uniform(margin, 1 - margin, 2)))


def photograph(rng: Generator, ink: Plane, colour: str, lamp: Plane, noise: float | None = None) -> bytes:
    """The JPEG of ink in a colour of INKS on paper under the lamp.

    noise: standard deviation of the camera's noise in levels, random if not given.
    """
    return _camera(rng, _scene(rng, ink, colour, lamp), noise)


def _scene(rng: Generator, ink: Plane, colour: str, lamp: Plane) -> Plane:
    """The light that paper with ink on it reflects, [H, W, 3], white at 255."""
    paper = np.array([rng.uniform(225, 250), rng.uniform(222, 246), rng.uniform(200, 240)])
    texture = 1 + rng.uniform(0.004, 0.02) * _grain(rng, ink.shape, rng.uniform(0.6, 1.5))
    if rng.random() < 0.2:
        texture = texture * _pale_lines(rng, ink.shape)
    absorbed = (1 - np.array(INKS[colour]) / paper).astype(np.float32)
    scene: Plane = paper.astype(np.float32) * (1 - ink[..., None] * absorbed) * (texture * lamp)[..., None]
    return scene


def _camera(rng: Generator, scene: Plane, noise: float | None = None) -> bytes:
    levels = np.rint(scene.clip(0, 255)).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(levels).filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.1))), np.float32)
    deviation = rng.uniform(0.8, 2.5) if noise is None else noise
    blurred += (deviation * rng.standard_normal(levels.shape[:2], np.float32))[..., None]
    return encode(blurred, quality=int(rng.integers(60, 93)))


def _grain(rng: Generator, shape: tuple[int, ...], size: float) -> Plane:
    """Noise with mean 0 and standard deviation 1, in grains `size` pixels wide."""
    coarse = [max(2, round(side / size)) for side in shape]
    noise = Image.fromarray(rng.standard_normal(coarse, np.float32))
    return np.asarray(noise.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _pale_lines(rng: Generator, shape: tuple[int, ...]) -> Plane:
    """The light that paper with pale lines reflects: 1, and 2 to 4 % less on a line."""
    distance = rng.uniform(0.12, 0.2) * min(shape)
    rows = evenly_spaced(rng, shape[0], distance, max(1.0, 0.004 * min(shape)))
    return np.where(rows[:, None], 1 - rng.uniform(0.02, 0.04), 1).astype(np.float32).repeat(shape[1], axis=1)


def light(rng: Generator, shape: tuple[int, ...], fall: float) -> Plane:
    """Illumination by a lamp to one side: it falls off across the sheet from 1 to 1 - fall, and towards the corners."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    across = 0.5 + 0.35 * (math.cos(angle) * x + math.sin(angle) * y)
    vignette = 1 - 0.08 * (x * x + y * y)
    lamp: Plane = ((1 - rng.uniform(0, fall) * across) * vignette).astype(np.float32)
    return lamp


def _shadow(rng: Generator, shape: tuple[int, ...]) -> Plane:
    """Illumination with half of the sheet in a shadow that takes 30 to 50 % of the light."""
    angle, offset = rng.uniform(0, 2 * math.pi), rng.uniform(-0.6, 0.6)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    bend = rng.uniform(-0.3, 0.3) * (x * math.sin(angle) - y * math.cos(angle)) ** 2
    across = math.cos(angle) * x + math.sin(angle) * y + bend - offset
    lit = 1 / (1 + np.exp(-across / rng.uniform(0.03, 0.1)))
    lamp: Plane = (1 - rng.uniform(0.3, 0.5) * (1 - lit)).astype(np.float32)
    return lamp


PHOTOGRAPHS: dict[str, PictureGenerator] = {
    "photographed pen": pen,
    "photographed pencil": pencil,
    "photographed crayon": crayon,
    "coloured ink": coloured_ink,
    "in shadow": in_shadow,
    "low contrast": faint,
    "on a table": on_a_table,
    "on ruled paper": on_ruled_paper,
    "on squared paper": on_squared_paper,
}
