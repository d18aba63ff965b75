import numpy as np
import pytest
from scipy import ndimage

from models.preprocessing import morphology

SQUARE = np.ones((3, 3))


@pytest.mark.parametrize("radius", [1, 2, 7])
def test_dilate_takes_the_largest_value_in_the_window(radius: int) -> None:
    plane = np.random.default_rng(0).random((9, 31)).astype(np.float32)
    expected = ndimage.maximum_filter(plane, 2 * radius + 1, mode="nearest")
    assert np.array_equal(morphology.dilate(plane, radius), expected)
    assert np.array_equal(morphology.dilate(plane > 0.9, radius), expected > 0.9)


@pytest.mark.parametrize("seed", range(20))
def test_connected_components_agree_with_scipy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((generator.integers(1, 40), generator.integers(1, 40))) < generator.random()
    labels = morphology.connected_components(mask)
    expected, count = ndimage.label(mask, SQUARE)
    assert ((labels > 0) == mask).all()
    assert labels.max() == count
    assert len(set(zip(labels[mask].tolist(), expected[mask].tolist(), strict=True))) == count


def test_bounding_boxes_of_components() -> None:
    mask = np.zeros((9, 12), bool)
    mask[1:4, 2] = mask[3, 2:6] = mask[7, 8:11] = True
    low, high = morphology.bounding_boxes(morphology.connected_components(mask))
    assert low.tolist() == [[1, 2], [7, 8]]
    assert high.tolist() == [[3, 5], [7, 10]]
    none = morphology.bounding_boxes(morphology.connected_components(np.zeros((3, 4), bool)))
    assert [found.shape for found in none] == [(0, 2), (0, 2)]
