import io

import numpy as np
import pytest
from PIL import Image

from training.data.mnist import Digits
from training.evaluation.generators import mnist_c


def corrupted(tile: np.ndarray, corruption: str, seed: int = 0) -> np.ndarray:
    """The tile, uint8 [28, 28], under the corruption, in 0..1."""
    image = Image.open(io.BytesIO(mnist_c.picture(np.random.default_rng(seed), tile, corruption)))
    assert (image.size, image.mode) == ((28, 28), "L")
    return np.asarray(image) / 255


def both(printed: Digits, corruption: str, count: int = 20) -> list[tuple[np.ndarray, np.ndarray]]:
    """(tile, corrupted tile) in 0..1, with seeds 0, 1, ..."""
    tiles = printed.images.numpy()
    return [(tiles[i % 10] / 255, corrupted(tiles[i % 10], corruption, i)) for i in range(count)]


def centre(plane: np.ndarray) -> np.ndarray:
    return np.array(np.nonzero(plane > 0.5)).mean(axis=1)


def size(plane: np.ndarray) -> int:
    return max(int(np.ptp(axis)) + 1 for axis in np.nonzero(plane > 0.4))


def roughness(plane: np.ndarray) -> float:
    return float(np.abs(np.diff(plane, axis=0)).sum() + np.abs(np.diff(plane, axis=1)).sum())


def slant(plane: np.ndarray) -> float:
    rows, columns = np.nonzero(plane > 0.5)
    return float(np.polyfit(rows, columns, 1)[0])


def test_there_are_fifteen_corruptions() -> None:
    assert len(mnist_c.CORRUPTIONS) == 15


@pytest.mark.parametrize("corruption", mnist_c.CORRUPTIONS)
def test_a_corruption_changes_every_tile_and_is_reproducible(printed: Digits, corruption: str) -> None:
    for seed, (before, after) in enumerate(both(printed, corruption)):
        assert np.abs(before - after).mean() > 0.01
        assert (corrupted(printed.images[seed % 10].numpy(), corruption, seed) == after).all()


@pytest.mark.parametrize("corruption", sorted({*mnist_c.CORRUPTIONS} - {"scale", "shear", "brightness", "canny edges"}))
def test_most_corruptions_are_random(printed: Digits, corruption: str) -> None:
    tile = printed.images[5].numpy()
    assert len({corrupted(tile, corruption, seed).tobytes() for seed in range(8)}) >= 3


def test_shot_noise_stays_within_the_ink_and_impulse_noise_does_not(printed: Digits) -> None:
    for before, after in both(printed, "shot noise"):
        assert (after[before == 0] == 0).all()
    for before, after in both(printed, "impulse noise"):
        assert 0.02 < (after[before == 0] == 1).mean() < 0.16
        assert set(np.unique(after[before != after])) <= {0, 1}


@pytest.mark.parametrize("corruption", ["glass blur", "motion blur"])
def test_blur_keeps_the_amount_of_ink_and_softens_edges(printed: Digits, corruption: str) -> None:
    for before, after in both(printed, corruption):
        assert after.sum() == pytest.approx(before.sum(), rel=0.25)
        assert roughness(after) < 0.9 * roughness(before)


def test_scale_and_translate(printed: Digits) -> None:
    for before, after in both(printed, "scale"):
        assert size(after) == pytest.approx(0.6 * size(before), abs=1.5)
    for before, after in both(printed, "translate"):
        assert (np.abs(np.abs(centre(after) - centre(before)) - 3) < 1.6).all()


def test_shear_and_rotation_slant_a_one(printed: Digits) -> None:
    one = printed.images[1].numpy()
    upright = slant(one / 255)
    for corruption, low, high in (("shear", 0.3, 0.5), ("rotate", 0.3, 0.75)):
        changes = [slant(corrupted(one, corruption, i)) - upright for i in range(10)]
        assert min(changes) < -0.15 and max(changes) > 0.15
        assert low < max(map(abs, changes)) < high


def test_brightness_raises_the_background_and_fog_covers_it(printed: Digits) -> None:
    for _, after in both(printed, "brightness"):
        assert 0.48 < after.min() < 0.62 and after.max() == 1
    for before, after in both(printed, "fog"):
        assert np.ptp(after[before == 0]) > 0.2
        assert after[before > 0.9].mean() > after[before == 0].mean() + 0.2


def test_a_stripe_inverts_whole_columns(printed: Digits) -> None:
    for before, after in both(printed, "stripe"):
        inverted = np.isclose(after, 1 - before, atol=0.01).all(axis=0)
        assert inverted.sum() in (7, 14)
        assert np.isclose(after[:, ~inverted], before[:, ~inverted]).all()


@pytest.mark.parametrize(("corruption", "low", "high"), [("dotted line", 8, 12), ("zigzag", 30, 110)])
def test_lines_are_full_ink_from_side_to_side(printed: Digits, corruption: str, low: int, high: int) -> None:
    for before, after in both(printed, corruption):
        assert (after[before != after] == 1).all()
        columns = np.flatnonzero((after[:, :] != before).any(axis=0))
        assert columns.min() <= 5 and columns.max() >= 22
        stamped = corrupted(np.zeros((28, 28), np.uint8), corruption)
        assert low <= (stamped > 0).sum() <= high


def test_spatter_covers_a_part_of_the_tile(printed: Digits) -> None:
    for before, after in both(printed, "spatter"):
        assert 0.05 < (np.abs(after - before) > 0.1).mean() < 0.25


def test_edges_are_thin_lines_around_the_ink(printed: Digits) -> None:
    square = np.zeros((28, 28), np.uint8)
    square[8:20, 8:20] = 255
    edges = corrupted(square, "canny edges") > 0
    assert edges[10:18, 6:10].any(axis=1).all() and edges[10:18, 18:22].any(axis=1).all()
    assert not edges[11:17, 11:17].any() and not edges[:5].any()
    for _, after in both(printed, "canny edges"):
        assert set(np.unique(after)) == {0, 1}
