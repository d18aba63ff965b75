import numpy as np
import pytest
from PIL import Image

from models.preprocessing import morphology


def test_dilate_takes_the_largest_value_around() -> None:
    plane = np.zeros((9, 11), np.float32)
    plane[4, 5] = 7
    expected = np.zeros_like(plane)
    expected[2:7, 3:8] = 7
    assert np.array_equal(morphology.dilate(plane, 2), expected)


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_a_flood_fill(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((generator.integers(1, 40), generator.integers(1, 40))) < generator.random()
    labels = morphology.connected_components(mask)
    assert ((labels > 0) == mask).all()
    image = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    count = 0
    remaining = np.asarray(image).copy()
    while remaining.any():
        start = tuple(np.argwhere(remaining)[0])
        part = {start}
        edge = [start]
        while edge:
            y, x = edge.pop()
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1] and remaining[near]:
                    remaining[near] = 0
                    part.add(near)
                    edge.append(near)
        remaining[start] = 0
        assert len({int(labels[place]) for place in part}) == 1
        count += 1
    assert labels.max() == count


def test_extents_are_those_of_each_part() -> None:
    mask = np.zeros((9, 12), bool)
    mask[1:4, 2] = mask[3, 2:6] = mask[7, 8:11] = True
    low, high = morphology.bounding_boxes(morphology.connected_components(mask))
    assert low.tolist() == [[1, 2], [7, 8]]
    assert high.tolist() == [[3, 5], [7, 10]]
    none = morphology.bounding_boxes(morphology.connected_components(np.zeros((3, 4), bool)))
    assert [found.shape for found in none] == [(0, 2), (0, 2)]
