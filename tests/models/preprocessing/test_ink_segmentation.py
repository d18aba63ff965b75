import contextlib

import numpy as np
import pytest
from PIL import Image

from models.errors import NothingDrawn
from models.preprocessing import ink_segmentation


def photograph(seed: int, dark: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A stroke on grainy paper under uneven light: the image, and the mask of the stroke."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((360, 480), np.float32)
    mask[90:260, 150:162] = 1
    mask[90:102, 150:260] = 1
    light = np.linspace(1.0, 0.55, 480)[None, :] * np.linspace(0.9, 1.0, 360)[:, None]
    level = 215 * light * (1 - 0.6 * mask) if dark else 60 * light + 150 * mask * light
    return (level + generator.normal(0, 4, mask.shape)).clip(0, 255).astype(np.uint8), mask > 0


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_stroke_is_found_on_uneven_paper(seed: int, dark: bool) -> None:
    picture, mask = photograph(seed, dark)
    found, steps = ink_segmentation.segment(picture)
    assert found[mask].mean() > 180
    assert (found[~mask] > 0).mean() < 0.01
    assert ("inverted" in steps) is dark
    assert "background" in steps


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("side", ["left", "right", "corner"])
def test_a_shadow_that_ends_near_the_border_is_not_ink(side: str, dark: bool) -> None:
    picture, mask = photograph(0)
    down, right = np.mgrid[:360, :480]
    beyond = {"left": 40 - right, "right": right - 440, "corner": (down + right - 740) / 1.4}[side]
    shade = 1 / (1 + np.exp(-beyond / 6))  # a soft edge
    lit = picture * (1 - 0.45 * (shade if dark else 1 - shade))
    found, _ = ink_segmentation.segment(lit.astype(np.uint8))
    assert found[mask].mean() > 180
    assert (found[~mask] > 0).mean() < 0.01


@pytest.mark.parametrize("side", ["top", "left"])
def test_a_stroke_along_the_border_of_a_photograph_is_found(side: str) -> None:
    generator = np.random.default_rng(0)
    mask = np.zeros((360, 480), bool)
    mask[:200, 200:215] = True
    mask[:14, 60:340] = True
    light = np.linspace(1.0, 0.55, 480)
    picture = (215 * light * np.where(mask, 0.15, 1) + generator.normal(0, 4, mask.shape)).clip(0, 255).astype(np.uint8)
    if side == "left":
        picture, mask = picture.T, mask.T
    found, _ = ink_segmentation.segment(picture)
    assert (found[mask] > 0).mean() > 0.98
    assert (found[~mask] > 0).mean() < 0.01


def test_coloured_ink_as_bright_as_the_paper_is_found() -> None:
    picture = np.full((100, 100, 3), 180, np.uint8)
    picture[20:80, 45:55] = (180, 200, 110)
    found, _ = ink_segmentation.segment(picture)
    assert found[50, 50] == 255
    assert found[:, :40].max() == 0


def test_specks_are_removed_and_detached_strokes_stay() -> None:
    picture = np.full((200, 200), 255, np.uint8)
    picture[60:150, 90:110] = 0
    picture[40:50, 90:130] = 0  # the stroke of a 5 that does not quite touch
    picture[190:192, 5:7] = 0
    found = ink_segmentation.isolate_digit(ink_segmentation.segment(picture)[0])
    assert found[45, 100] == 255
    assert found[185:, :10].max() == 0


@pytest.mark.parametrize("bands", [[slice(0, 7), slice(21, 28)], [slice(11, 18)], [slice(6, 12), slice(15, 22)]])
@pytest.mark.parametrize("axis", [0, 1])
def test_inverted_stripes_are_restored(seven: Image.Image, axis: int, bands: list[slice]) -> None:
    tile = 255 - np.asarray(seven.resize((28, 28), Image.Resampling.BOX))
    striped = tile.copy()
    for band in bands:
        lines = striped.swapaxes(0, axis)[band]
        lines[:] = 255 - lines
    assert (ink_segmentation.segment(striped)[0] == tile).all()


@pytest.mark.parametrize("foot", [False, True])
@pytest.mark.parametrize("flag", [False, True])
def test_a_one_from_edge_to_edge_is_not_a_stripe(foot: bool, flag: bool) -> None:
    one = np.zeros((28, 20), np.uint8)
    one[:, 8:13] = 255
    one[-3:] |= 255 * np.uint8(foot)
    one[2:6, 3:8] |= 255 * np.uint8(flag)
    assert (ink_segmentation.segment(one)[0] == one).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_bar_with_dented_edges_is_not_a_stripe(axis: int) -> None:
    bar = np.zeros((16, 16), np.uint8)
    bar[:, 6:10] = 255
    bar[3:6, 6] = bar[9:12, 9] = 60
    bar = bar.swapaxes(0, axis)
    assert (ink_segmentation.segment(bar)[0] == bar).all()


def test_a_bar_of_one_pixel_is_not_a_stripe() -> None:
    bar = np.zeros((16, 16), np.uint8)
    bar[:, 7] = 255
    bar[3:13, 7:9] = (100, 255)
    assert (ink_segmentation.segment(bar)[0] == bar).all()


def test_a_narrow_eight_from_edge_to_edge_is_not_a_stripe() -> None:
    eight = np.zeros((16, 16), np.uint8)
    eight[[0, 6, 9, 15], 6:10] = 255
    eight[:, [6, 9]] = 255
    eight[[7, 8], 6:10] = (0, 255, 255, 0)
    assert (ink_segmentation.segment(eight)[0] == eight).all()


def test_the_corners_give_the_background_of_a_thick_zero_in_a_tight_crop() -> None:
    down, right = np.mgrid[-7.5:8, -7.5:8]
    distance = np.hypot(down, right)
    zero = np.where((distance > 2) & (distance < 9), 255, 0).astype(np.uint8)
    assert (zero > 0).mean() > 0.6
    assert (ink_segmentation.segment(zero)[0] == zero).all()
    assert (ink_segmentation.segment(255 - zero)[0] == zero).all()


@pytest.mark.parametrize("seed", range(200))
def test_any_image_is_segmented_or_refused(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 120, 2)
    picture = np.zeros((height, width), np.uint8)
    for _ in range(generator.integers(0, 6)):
        top, left = generator.integers(0, height), generator.integers(0, width)
        picture[top : top + generator.integers(1, 80), left : left + generator.integers(1, 80)] = generator.integers(
            256
        )
    if generator.random() < 0.5:
        picture = (
            (picture + generator.integers(0, generator.integers(1, 60), picture.shape)).clip(0, 255).astype(np.uint8)
        )
    with contextlib.suppress(NothingDrawn):
        found, _ = ink_segmentation.segment(picture)
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert 0 <= found.max() <= 255.5


@pytest.mark.parametrize("width", [1, 4])
def test_a_frame_is_not_ink(width: int) -> None:
    picture = np.full((200, 200), 255, np.uint8)
    picture[60:150, 90:110] = 0
    plain, _ = ink_segmentation.segment(picture)
    framed = np.pad(picture[width:-width, width:-width], width, constant_values=40)
    found, steps = ink_segmentation.segment(framed)
    assert steps == ["inverted"]
    assert found.sum() == plain.sum()


def test_the_edge_of_a_table_is_removed() -> None:
    picture = np.full((300, 400), 255, np.uint8)
    picture[:, :30] = 60
    picture[100:200, 200:215] = 0
    found = ink_segmentation.isolate_digit(ink_segmentation.segment(picture)[0])
    assert found[150, 207] == 255
    assert found[:, :30].max() == 0


@pytest.mark.parametrize("turns", range(4))
def test_a_digit_that_touches_the_table_beside_the_paper_is_kept_without_it(turns: int) -> None:
    noise = np.random.default_rng(0).normal(0, 2, (300, 400))
    down, right = np.mgrid[:300, :400]
    table, bar, stem = right < 20 + down / 20, np.zeros((300, 400), bool), np.zeros((300, 400), bool)
    bar[100:110, :180] = stem[100:220, 170:180] = True
    light = np.where(table, 70, np.where(bar | stem, 40, 220)) + noise
    photograph = np.rot90(light.clip(0, 255).astype(np.uint8), turns)
    found = np.rot90(ink_segmentation.isolate_digit(ink_segmentation.segment(photograph, lossy=True)[0]), -turns)
    assert found[table].max() == 0
    assert (found[104:106, 60:170] > 200).all()
    assert (found[110:215, 174:176] > 200).all()
