import io

import numpy as np
import pytest
from PIL import Image

from tests.support.holes import holes
from training.evaluation.generators import handwriting
from training.evaluation.generators.handwriting import FORMS


@pytest.mark.parametrize("kind", FORMS)
def test_pictures_differ_and_are_small_large_or_photographed(kind: str) -> None:
    _, forms = FORMS[kind]
    pictures = [handwriting.picture(np.random.default_rng(seed), forms) for seed in range(20)]
    images = [Image.open(io.BytesIO(data)) for data in pictures]
    assert {(image.format, max(image.size) > 28) for image in images} == {("PNG", False), ("PNG", True), ("JPEG", True)}
    assert len(set(pictures)) == 20


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("open four", 0),
        ("two with a loop", 1),
        ("one with serif and foot", 0),
        ("one with a long upstroke", 0),
        ("crossed zero", 2),
    ],
)
def test_forms_enclose_the_expected_number_of_holes(kind: str, expected: int) -> None:
    found = [
        holes(handwriting.drawn(np.random.default_rng(index), form, 120, 5))
        for form in FORMS[kind][1]
        for index in range(8)
    ]
    assert np.median(found) == expected
    assert np.mean(np.array(found) == expected) > 0.8


def test_a_smooth_curve_passes_through_its_points() -> None:
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    curve = handwriting.smooth(points)
    for point in points:
        assert np.hypot(*(curve - point).T).min() < 1e-12
    assert np.hypot(*np.diff(curve, axis=0).T).max() < 0.4
