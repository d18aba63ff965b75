import numpy as np
from PIL import ImageFont

from training.data.synthetic import pen
from training.evaluation.generators import no_digits as measured


def test_a_line_is_written_with_pens_of_many_widths_and_never_the_same() -> None:
    generator = np.random.default_rng(0)
    lines = [pen.written([np.array([[2.0, 0.0], [2.0, 6.0]])], generator) for _ in range(40)]
    assert all(line.dtype == np.uint8 and line.max() == 255 for line in lines)
    widths = [(line > 0).sum() / np.ptp(np.flatnonzero(line.any(axis=1))) for line in lines]
    assert min(widths) < 4 < 7 < max(widths)
    assert len({line.tobytes() for line in lines}) == 40


def test_corners_are_rounded_and_ends_stay() -> None:
    corner = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0]])
    curve = pen.rounded(corner)
    assert (curve[0] == corner[0]).all() and (curve[-1] == corner[-1]).all()
    assert np.hypot(*(curve - corner[1]).T).min() > 0.5
    steps = np.diff(curve, axis=0)
    turns = np.diff(np.arctan2(steps[:, 1], steps[:, 0]))
    assert np.abs(turns).max() < np.pi / 6


def test_a_letter_is_printed_in_many_fonts() -> None:
    generator = np.random.default_rng(0)
    letters = [pen.printed("K", generator) for _ in range(40)]
    assert all(letter.max() > 240 and not letter[:, [0, -1]].any() for letter in letters)
    assert len({letter.tobytes() for letter in letters}) == 40


def test_training_and_evaluation_share_no_font() -> None:
    trained = {path for package in pen.OUTLINE_FONTS for path in pen._outlines(package)}
    families = {ImageFont.truetype(path).getname()[0] for path in trained}
    measuring = {ImageFont.truetype(path).getname()[0] for path in measured._fonts()}
    measuring.add(ImageFont.load_default(20).getname()[0])
    assert len(families) >= 8
    assert not families & measuring
