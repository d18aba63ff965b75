import numpy as np
import pytest

from models.preprocessing.decode import decode

optdigits = pytest.importorskip("benchmarks.optdigits")


def test_counts_of_ink_become_a_picture_with_an_empty_margin() -> None:
    counts = np.pad(np.full((8, 2), 16.0), ((0, 0), (3, 3)))
    picture = decode(optdigits.picture(counts)).pixels
    assert picture.shape == (96, 96)
    inked = [np.flatnonzero(picture.max(axis=axis) > 127) for axis in (1, 0)]
    assert [int(np.ptp(places)) + 1 for places in inked] == [64, 16]


def test_all_samples_have_a_label_and_a_picture() -> None:
    samples = optdigits.samples()
    assert len(samples) == 1797
    assert {sample.label for sample in samples} == set(range(10))
    assert decode(samples[0].read()).pixels.shape == (96, 96)
