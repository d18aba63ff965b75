import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.preprocessing import paper_sheet

Picture = NDArray[np.float32]
CORNERS = [(70, 60), (330, 40), (350, 250), (60, 240)]


def photograph(
    table: float = 90, paper: float = 225, ink: float = 40, corners: list[tuple[int, int]] = CORNERS, at: int = 0
) -> Picture:
    """300 x 400 pixels of a table with a sheet that shows a 7, `at` pixels right of the sheet's middle."""
    image = Image.new("F", (400, 300), table)
    draw = ImageDraw.Draw(image)
    draw.polygon(corners, fill=paper)
    draw.line([(160 + at, 100), (230 + at, 100), (180 + at, 200)], fill=ink, width=9)
    noise = np.random.default_rng(0).normal(0, 2, (300, 400))
    return (np.asarray(image) + noise).clip(0, 255).astype(np.float32)[..., None]


def label() -> Picture:
    image = Image.new("F", (400, 300), 90)
    draw = ImageDraw.Draw(image)
    draw.rectangle((150, 90, 240, 190), fill=225)
    draw.line([(180, 110), (215, 110), (190, 170)], fill=40, width=8)
    return np.asarray(image)[..., None]


def zero() -> Picture:
    image = Image.new("F", (300, 300), 20)
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 30, 240, 270), fill=230)
    draw.rectangle((125, 90, 175, 210), fill=20)
    draw.rectangle((90, 130, 210, 170), fill=20)
    return np.asarray(image)[..., None]


def white() -> Picture:
    image = Image.new("F", (400, 300), 60)
    draw = ImageDraw.Draw(image)
    draw.rectangle((150, 0, 400, 300), fill=160)
    draw.ellipse((142, 60, 300, 240), outline=250, width=22)
    return np.asarray(image)[..., None]


@pytest.mark.parametrize("table", [20, 90, 160])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_surroundings_of_a_sheet_become_paper(table: float, channels: int) -> None:
    picture = photograph(table).repeat(channels, axis=2)
    found = paper_sheet.isolate_sheet(picture)
    assert found is not None
    assert found.shape == picture.shape
    assert (found[80:220, 120:280] == picture[80:220, 120:280]).all()
    assert (np.abs(found[:30] - 225) < 8).all()
    assert (np.abs(found[:, :40] - 225) < 8).all()
    assert (np.abs(found[:, 370:] - 225) < 8).all()
    assert ((found < 180).any(axis=2) == ((picture < 60).any(axis=2) & (found == picture).all(axis=2))).all()


@pytest.mark.parametrize(
    "corners", [[(-9, -9), (330, -9), (350, 320), (-9, 320)], [(-9, 60), (500, 40), (500, 320), (-9, 320)]]
)
def test_a_sheet_may_leave_the_photograph_on_some_sides(corners: list[tuple[int, int]]) -> None:
    picture = photograph(corners=corners)
    found = paper_sheet.isolate_sheet(picture)
    assert found is not None
    assert np.median(found[:20, 380:]) > 200
    assert (found[80:220, 120:280] == picture[80:220, 120:280]).all()


def test_the_paper_keeps_its_uneven_light() -> None:
    light = np.linspace(1, 0.7, 400, dtype=np.float32)[None, :, None]
    found = paper_sheet.isolate_sheet(photograph(60) * light)
    assert found is not None
    assert np.abs(found[280] / light[0] - 225).max() < 25


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(photograph(225), id="paper alone"),
        pytest.param(photograph(90, at=160), id="a digit that leaves the sheet"),
        pytest.param(photograph(90, ink=225), id="nothing on the sheet"),
        pytest.param(photograph(225, 90), id="a dark sheet"),
        pytest.param(photograph(90, corners=[(200, 20), (380, 280), (20, 280)]), id="a triangle"),
        pytest.param(label(), id="a small label"),
        pytest.param(photograph(90, ink=205), id="a smudge on the sheet"),
        pytest.param(zero(), id="a bold zero with corners"),
        pytest.param(white(), id="white ink across two tones"),
        pytest.param(photograph(215), id="hardly any edge"),
        pytest.param(255 - photograph(225), id="chalk on a board"),
        pytest.param(np.zeros((300, 400, 1), np.float32), id="black"),
        pytest.param(np.full((1, 400, 1), 90, np.float32), id="a line"),
    ],
)
def test_a_photograph_without_a_sheet_and_digit_is_unchanged(picture: Picture) -> None:
    assert paper_sheet.isolate_sheet(picture) is None


def test_a_bold_zero_is_not_a_sheet() -> None:
    image = Image.new("F", (300, 300), 20)
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 30, 240, 270), fill=230)
    draw.ellipse((110, 100, 190, 200), fill=20)
    assert paper_sheet.isolate_sheet(np.asarray(image, np.float32)[..., None]) is None


def test_a_broad_stroke_across_the_edge_of_the_sheet_stays() -> None:
    picture = photograph()
    picture[120:150, 60:200] = np.where(picture[120:150, 60:200] > 150, 40, picture[120:150, 60:200])
    found = paper_sheet.isolate_sheet(picture)
    assert found is not None
    assert (found[125:145, 90:190] < 60).all()


@pytest.mark.parametrize("seed", range(100))
def test_any_image_gives_none_or_finite_pixels_of_its_shape(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width, channels = generator.integers(1, 150), generator.integers(1, 150), generator.choice([1, 3])
    picture = np.full((height, width, channels), generator.integers(256), np.float32)
    for _ in range(generator.integers(0, 6)):
        top, left = generator.integers(0, height), generator.integers(0, width)
        bottom, right = top + generator.integers(1, 90), left + generator.integers(1, 90)
        picture[top:bottom, left:right] = generator.integers(256)
    picture += generator.normal(0, generator.integers(0, 9), picture.shape).astype(np.float32)
    found = paper_sheet.isolate_sheet(picture)
    assert found is None or (found.shape == picture.shape and bool(np.isfinite(found).all()))


@pytest.mark.parametrize("seed", range(30))
def test_a_bright_sheet_with_a_stroke_on_a_dark_table_is_found(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(80, 700, 2).tolist()
    picture = np.full((height, width, generator.choice([1, 3])), generator.integers(150), np.float32)
    top, bottom = int(generator.uniform(0.05, 0.3) * height), int(generator.uniform(0.7, 1) * height)
    left, right = int(generator.uniform(0.05, 0.3) * width), int(generator.uniform(0.7, 1) * width)
    picture[top:bottom, left:right] = generator.integers(200, 256)
    row, column, thick = (top + bottom) // 2, (left + right) // 2, max(height, width) // 32
    picture[row - height // 8 : row + height // 8, column : column + thick] = 20
    found = paper_sheet.isolate_sheet(picture)
    assert found is not None
    assert (found[:top, :left] > 190).all()
    assert (found[row - height // 8 : row + height // 8, column : column + thick] == 20).all()
