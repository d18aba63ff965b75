import io

import numpy as np
import pytest
from PIL import Image

from training.data.mnist import Digits
from training.evaluation.generators import photographs


def taken(kind: str, printed: Digits, count: int = 6) -> list[np.ndarray]:
    tiles = printed.images.numpy()
    data = [photographs.PHOTOGRAPHS[kind](np.random.default_rng(index), tiles[index]) for index in range(count)]
    images = [Image.open(io.BytesIO(picture)) for picture in data]
    assert {image.format for image in images} == {"JPEG"}
    return [np.asarray(image).astype(float) for image in images]


def contrast(levels: np.ndarray) -> float:
    """How much darker the darkest strokes are than the paper, 0..1."""
    grey = levels.mean(axis=2)
    return float(1 - np.percentile(grey, 0.5) / np.median(grey))


ON_PAPER_ALONE = [kind for kind in photographs.PHOTOGRAPHS if kind != "on a table"]


@pytest.mark.parametrize("kind", ON_PAPER_ALONE)
def test_photographs_show_dark_ink_on_light_grainy_paper(printed: Digits, kind: str) -> None:
    for levels in taken(kind, printed):
        assert min(levels.shape[:2]) >= 240 and levels.shape[2] == 3
        assert np.median(levels) > 90
        assert contrast(levels) > 0.05
        assert 0.2 < np.abs(np.diff(levels[:40].mean(axis=2), axis=1)).mean() < 8


def test_coloured_ink_is_coloured_and_pencil_is_not(printed: Digits) -> None:
    def colourfulness(levels: np.ndarray) -> float:
        ink = levels.mean(axis=2) < np.percentile(levels.mean(axis=2), 1)
        return float(np.ptp(levels[ink].mean(axis=0)))

    assert min(map(colourfulness, taken("coloured ink", printed))) > 30
    assert max(map(colourfulness, taken("photographed pencil", printed))) < 40


def test_low_contrast_is_lower_than_that_of_a_pen(printed: Digits) -> None:
    low = np.mean([contrast(levels) for levels in taken("low contrast", printed)])
    assert low < 0.6 * np.mean([contrast(levels) for levels in taken("photographed pen", printed)])


def test_a_shadow_darkens_one_side(printed: Digits) -> None:
    for levels in taken("in shadow", printed):
        grey = levels.mean(axis=2)
        assert np.percentile(grey, 95) > 1.25 * np.percentile(grey, 5)


def test_a_sheet_on_a_table_has_a_darker_border(printed: Digits) -> None:
    for levels in taken("on a table", printed):
        grey = levels.mean(axis=2)
        border = [np.median(side) for side in (grey[:5], grey[-5:], grey[:, :5], grey[:, -5:])]
        assert min(border) < 0.85 * np.percentile(grey, 90)
        assert min(levels.shape[:2]) >= 240 and levels.shape[2] == 3
        assert np.percentile(levels, 75) > 90
        assert 0.2 < np.abs(np.diff(levels[:40].mean(axis=2), axis=1)).mean() < 8


@pytest.mark.parametrize(("kind", "squared"), [("on ruled paper", False), ("on squared paper", True)])
def test_lined_paper_has_lines_from_edge_to_edge(printed: Digits, kind: str, squared: bool) -> None:
    def has_lines(grey: np.ndarray) -> bool:
        """Whether the pixels along some slanted line are mostly darker than those a few pixels above and below."""
        columns = np.arange(0, grey.shape[1], 4)
        darker = grey[8:-8] < np.minimum(grey[:-16], grey[16:]) * 0.985
        slants = [np.rint(drop * (columns / grey.shape[1] - 0.5)).astype(int) for drop in range(-24, 25)]
        rows = np.arange(12, len(darker) - 12)[:, None]
        wide = darker[:-2] | darker[1:-1] | darker[2:]
        means = [wide[(rows + slant - 1).clip(0, len(wide) - 1), columns].mean(axis=1).max() for slant in slants]
        return bool(max(means) > 0.75)

    seen = [levels.mean(axis=2) for levels in taken(kind, printed, 10)]
    level, upright = sum(map(has_lines, seen)), sum(has_lines(grey.T) for grey in seen)
    assert level >= 8
    assert upright >= 8 if squared else upright <= 3
    assert sum(has_lines(levels.mean(axis=2)) for levels in taken("photographed pen", printed, 10)) <= 3
