import numpy as np
import pytest
import torch

from training.data.mnist import Digits
from training.data.synthetic import outliers
from training.progress import Bar, Report


@pytest.fixture
def digits(training_digits: Digits) -> Digits:
    return training_digits[torch.arange(2000)]


def test_the_bank_holds_tiles_of_every_kind_and_repeats_itself(digits: Digits) -> None:
    count = 10 * len(outliers.KINDS)
    bank, again, other = (outliers.bank(digits, count, seed, Report(quiet=True)) for seed in (0, 0, 1))
    assert bank.dtype == torch.uint8
    assert bank.shape[1:] == (28, 28)
    assert 0.9 * count <= len(bank) <= count
    assert (bank.flatten(1).max(1).values > 200).all()
    assert torch.equal(bank, again)
    assert bank.shape != other.shape or not torch.equal(bank, other)


class Counted(Report):
    """Adds up what its bar counts."""

    images = 0

    def bar(self, title: str, total: int) -> Bar:
        bar = super().bar(title, total)
        bar.advance = self.advance  # type: ignore[method-assign]
        return bar

    def advance(self, images: float) -> None:
        self.images += int(images)


@pytest.mark.processes
def test_more_processes_draw_the_same_and_are_counted(digits: Digits) -> None:
    count = 2 * outliers.PORTION + 100
    report = Counted(quiet=True)
    alone, together = outliers.bank(digits, count, 0, Report(quiet=True)), outliers.bank(digits, count, 0, report, 2)
    assert torch.equal(alone, together)
    assert not torch.equal(alone[:50], alone[outliers.PORTION : outliers.PORTION + 50])
    assert report.images == count


@pytest.mark.parametrize("kind", sorted(set(outliers.KINDS), key=lambda kind: kind.__name__))
def test_every_kind_draws_something_new_each_time(kind, digits: Digits) -> None:
    generator = np.random.default_rng(0)
    pictures = [kind(generator, digits) for _ in range(20)]
    assert all(picture.dtype == np.uint8 and np.ptp(picture) > 30 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 20


def test_no_glyph_looks_like_a_digit() -> None:
    assert not set(outliers.GLYPHS) & set("0123456789OoIlSsZzBbgq")
