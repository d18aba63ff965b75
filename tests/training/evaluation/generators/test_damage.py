import numpy as np
import pytest

from training.data.mnist import Digits
from training.evaluation.generators import damage


def both(printed: Digits, kind: str, count: int = 20) -> list[tuple[np.ndarray, np.ndarray]]:
    """(tile, damaged tile) in 0..1."""
    tiles = printed.images.numpy()
    pairs = [(tiles[i % 10], damage.damaged(np.random.default_rng(i), tiles[i % 10], kind)) for i in range(count)]
    assert all(after.shape == (28, 28) and after.dtype == np.uint8 for _, after in pairs)
    return [(before / 255, after / 255) for before, after in pairs]


def centre(plane: np.ndarray) -> np.ndarray:
    return np.array(np.nonzero(plane > 0.5)).mean(axis=1)


def size(plane: np.ndarray) -> int:
    return max(int(np.ptp(axis)) + 1 for axis in np.nonzero(plane > 0.4))


def roughness(plane: np.ndarray) -> float:
    return float(np.abs(np.diff(plane, axis=0)).sum() + np.abs(np.diff(plane, axis=1)).sum())


def slant(plane: np.ndarray) -> float:
    rows, columns = np.nonzero(plane > 0.5)
    return float(np.polyfit(rows, columns, 1)[0])


def test_there_are_the_fifteen_of_mnist_c() -> None:
    assert len(damage.KINDS) == 15


@pytest.mark.parametrize("kind", damage.KINDS)
def test_each_kind_changes_every_tile_and_the_seed_decides_how(printed: Digits, kind: str) -> None:
    for index, (before, after) in enumerate(both(printed, kind)):
        assert np.abs(before - after).mean() > 0.01
        again = damage.damaged(np.random.default_rng(index), printed.images[index % 10].numpy(), kind)
        assert (again / 255 == after).all()


@pytest.mark.parametrize("kind", sorted({*damage.KINDS} - {"scale", "shear", "brightness", "canny edges"}))
def test_most_kinds_are_random(printed: Digits, kind: str) -> None:
    tile = printed.images[5].numpy()
    assert len({damage.damaged(np.random.default_rng(seed), tile, kind).tobytes() for seed in range(8)}) >= 3


def test_shot_noise_stays_within_the_ink_and_impulse_noise_does_not(printed: Digits) -> None:
    for before, after in both(printed, "shot noise"):
        assert (after[before == 0] == 0).all()
    for before, after in both(printed, "impulse noise"):
        assert 0.02 < (after[before == 0] == 1).mean() < 0.16
        assert set(np.unique(after[before != after])) <= {0, 1}


@pytest.mark.parametrize("kind", ["glass blur", "motion blur"])
def test_blur_keeps_about_as_much_ink_but_less_sharply(printed: Digits, kind: str) -> None:
    for before, after in both(printed, kind):
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
    for kind, low, high in (("shear", 0.3, 0.5), ("rotate", 0.3, 0.75)):
        changes = [slant(damage.damaged(np.random.default_rng(i), one, kind) / 255) - upright for i in range(10)]
        assert min(changes) < -0.15 and max(changes) > 0.15
        assert low < max(map(abs, changes)) < high


def test_brightness_lifts_the_ground_and_fog_lies_on_it(printed: Digits) -> None:
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


@pytest.mark.parametrize(("kind", "low", "high"), [("dotted line", 8, 12), ("zigzag", 30, 110)])
def test_lines_are_full_ink_from_side_to_side(printed: Digits, kind: str, low: int, high: int) -> None:
    for before, after in both(printed, kind):
        assert (after[before != after] == 1).all()
        columns = np.flatnonzero((after[:, :] != before).any(axis=0))
        assert columns.min() <= 5 and columns.max() >= 22
        stamped = damage.damaged(np.random.default_rng(0), np.zeros((28, 28), np.uint8), kind)
        assert low <= (stamped > 0).sum() <= high


def test_spatter_covers_a_part(printed: Digits) -> None:
    for before, after in both(printed, "spatter"):
        assert 0.05 < (np.abs(after - before) > 0.1).mean() < 0.25


def test_edges_are_thin_lines_around_the_ink(printed: Digits) -> None:
    square = np.zeros((28, 28), np.uint8)
    square[8:20, 8:20] = 255
    edges = damage.damaged(np.random.default_rng(0), square, "canny edges") > 0
    assert edges[10:18, 6:10].any(axis=1).all() and edges[10:18, 18:22].any(axis=1).all()
    assert not edges[11:17, 11:17].any() and not edges[:5].any()
    for _, after in both(printed, "canny edges"):
        assert set(np.unique(after)) == {0, 1}
