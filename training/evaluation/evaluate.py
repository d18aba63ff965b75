"""The whole evaluation of one predictor: data sets, drawn and photographed digits, damage, and what is no digit.

Everything is made anew from the seed and goes the way of a client's picture: bytes, decode, normalise, predict.
Digits to draw with are the held-out 5,000, as far as they can be drawn anew; as in MNIST-C, damage is done to the test
set.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.inference.predictor import Predictor
from training.data import mnist
from training.evaluation.answers import Answers, Figures, Refusals, answer, figures, pooled, refusals
from training.evaluation.datasets import NO_DIGIT, Dataset, Sample, load, of_digits
from training.evaluation.generators import damage, drawings, handwriting, no_digits, photographs
from training.evaluation.generators.redraw import Pixels, encoded, redrawable
from training.progress import Report

PICTURES = 500
GROUPS = ("data sets", "drawn", "photographed", "ways of writing", "damaged", "no digit")
OUTLIERS = GROUPS[-1]
HELD_OUT = "MNIST held out"


@dataclass(frozen=True)
class Kind:
    """One kind of picture, what was answered, and what that is worth."""

    name: str
    group: str
    samples: Sequence[Sample]
    answers: Answers
    figures: Figures | Refusals


@dataclass(frozen=True)
class Evaluation:
    model: str
    seed: int
    kinds: list[Kind]

    def group(self, name: str) -> list[Kind]:
        return [kind for kind in self.kinds if kind.group == name]

    def pooled(self) -> dict[str, Figures | Refusals]:
        """Over all pictures of each group that was made from several kinds."""
        found: dict[str, Figures | Refusals] = {}
        for group in GROUPS[1:]:
            if kinds := self.group(group):
                found[group] = worth(pooled([kind.answers for kind in kinds]), group)
        return found


def evaluate(
    predictor: Predictor,
    digits: Path | None,
    data: Sequence[Path] = (),
    pictures: int = PICTURES,
    seed: int = 0,
    download: bool = False,
    report: Report | None = None,
) -> Evaluation:
    """Measures on MNIST in folder `digits` and on pictures made from it, and on each data set of `data`.

    Without `digits`, on `data` alone. The same seed gives the same figures. Raises DataError.
    """
    sources = [("data sets", dataset) for dataset in map(load, data)]
    if digits:
        _, held_out = mnist.split(mnist.training_set(digits, download))
        test = mnist.test_set(digits, download)
        whole = {"MNIST test": test, HELD_OUT: held_out}
        sources = [("data sets", of_digits(name, part)) for name, part in whole.items()] + sources
        sources += made(held_out, test, pictures, seed)
    evaluation = Evaluation(predictor.model, seed, measured(predictor, sources, report or Report(quiet=True)))
    if report:
        report.line(table(evaluation))
    return evaluation


def measured(predictor: Predictor, sources: Sequence[tuple[str, Dataset]], report: Report) -> list[Kind]:
    """Answers each (group, data set)."""
    kinds = []
    with report.bar("evaluating", sum(len(dataset.samples) for _, dataset in sources)) as bar:
        for group, dataset in sources:
            bar.retitle(dataset.name)
            answers = answer(predictor, dataset.samples, bar.advance)
            kinds.append(Kind(dataset.name, group, dataset.samples, answers, worth(answers, group)))
    return kinds


def worth(answers: Answers, group: str) -> Figures | Refusals:
    return refusals(answers) if group == OUTLIERS else figures(answers)


def made(held_out: mnist.Digits, test: mnist.Digits, pictures: int, seed: int) -> Iterator[tuple[str, Dataset]]:
    """(group, pictures of one kind), for every kind that is generated: hands from held-out digits, damage to others."""
    held_out = held_out[torch.from_numpy(redrawable(held_out.images.numpy(), held_out.labels.tolist()))]
    hands, hand_labels = held_out.images.numpy(), held_out.labels.tolist()

    def dataset(name: str, make: Callable[[Generator, int], bytes], labels: Sequence[int]) -> Dataset:
        """Pictures of the first of a shuffled deck of tiles, each from a generator of its own."""
        deck = _generator(seed, name).permutation(len(labels)).tolist()
        samples = []
        for index in range(pictures):
            tile = deck[index % len(deck)]
            read = partial(_make, make, seed, name, index, tile)
            samples.append(Sample(f"{name} {index}", labels[tile], read))
        return Dataset(name, samples)

    for group, kinds in (("drawn", drawings.KINDS), ("photographed", photographs.KINDS)):
        for name, draw in kinds.items():
            yield group, dataset(name, partial(_of_tile, draw, hands), hand_labels)
    for name, (digit, _) in handwriting.FORMS.items():
        yield "ways of writing", dataset(name, partial(_of_form, name), [digit])
    for name in damage.KINDS:
        yield "damaged", dataset(name, partial(_damaged, name, test.images.numpy()), test.labels.tolist())
    for name, outlier in no_digits.kinds().items():
        yield OUTLIERS, dataset(name, partial(_outlier, outlier, hands), [NO_DIGIT])


def table(evaluation: Evaluation) -> str:
    """The figures as text: one row a kind, and one for each group as a whole."""
    rows = Table(title=f"model {evaluation.model}, seed {evaluation.seed}", title_justify="left", box=None)
    rows.add_column("")
    for heading in ("pictures", "right", "95 % interval", "kept", "unsure", "empty", "calibration", "AUROC", "NLL"):
        rows.add_column(heading, justify="right")
    whole = evaluation.pooled()
    for group in GROUPS:
        for kind in evaluation.group(group):
            rows.add_row(Text(kind.name), *_cells(kind.figures))
        if group in whole:
            rows.add_row(f"{group}, together", *_cells(whole[group]), style="bold", end_section=True)
    output = StringIO()
    Console(file=output, width=130).print(rows)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def _cells(worth: Figures | Refusals) -> list[str]:
    count, empty = f"{worth.pictures:,}", str(worth.nothing_drawn or "")
    if isinstance(worth, Refusals):
        return [count, "", _interval(worth.unsure_interval), "", f"{worth.unsure:.2%}", empty, "", "", ""]
    area = "" if worth.auroc is None else f"{worth.auroc:.3f}"
    interval, error = _interval(worth.accuracy_interval), f"{worth.calibration_error:.2%}"
    likelihood = f"{worth.negative_log_likelihood:.4f}"
    return [count, f"{worth.accuracy:.2%}", interval, f"{worth.kept:.1%}", "", empty, error, area, likelihood]


def _interval(bounds: tuple[float, float]) -> str:
    return f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f}"


def _generator(seed: int, name: str, *more: int) -> Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *more])


def _make(make: Callable[[Generator, int], bytes], seed: int, name: str, index: int, tile: int) -> bytes:
    return make(_generator(seed, name, index), tile)


def _of_tile(draw: drawings.Kind, tiles: Pixels, rng: Generator, tile: int) -> bytes:
    return draw(rng, tiles[tile])


def _of_form(name: str, rng: Generator, _: int) -> bytes:
    return handwriting.picture(rng, name)[0]


def _damaged(name: str, tiles: Pixels, rng: Generator, tile: int) -> bytes:
    return encoded(damage.damaged(rng, tiles[tile], name))


def _outlier(make: no_digits.Kind, tiles: Pixels, rng: Generator, _: int) -> bytes:
    return make(rng, tiles)
