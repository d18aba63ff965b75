"""The evaluation of one predictor: data sets, drawn and photographed digits, MNIST-C, and outliers.

Pictures are generated from the seed, and decoded, normalised and predicted as a client's are. Drawn and photographed
digits are redrawn from the 5,000 held out; corruptions, as in MNIST-C, are applied to the test set.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.random import Generator

from models.inference.predictor import Predictor
from training.data import mnist
from training.evaluation.answers import Answers, Metrics, answer, digit_metrics, outlier_metrics, pooled
from training.evaluation.datasets import NO_DIGIT, Dataset, Sample, load, of_digits
from training.evaluation.generators import handwriting, mnist_c
from training.evaluation.generators.drawings import DRAWINGS
from training.evaluation.generators.no_digits import OUTLIERS
from training.evaluation.generators.photographs import PHOTOGRAPHS
from training.evaluation.generators.rendering import redrawable
from training.progress import Report

GROUPS = ("data sets", "drawn", "photographed", "ways of writing", "corrupted", "outliers")
OUTLIER_GROUP = GROUPS[-1]
HELD_OUT = "MNIST held out"

Source = TypeVar("Source")


@dataclass(frozen=True)
class EvaluatedKind:
    """The pictures of one kind, the answers to them, and the metrics of the answers."""

    name: str
    group: str
    samples: Sequence[Sample]
    answers: Answers
    metrics: Metrics


@dataclass(frozen=True)
class Evaluation:
    model: str
    seed: int
    kinds: list[EvaluatedKind]

    def group(self, name: str) -> list[EvaluatedKind]:
        return [kind for kind in self.kinds if kind.group == name]

    def pooled(self) -> dict[str, Metrics]:
        """Metrics over all pictures of each generated group."""
        return {
            group: _metrics(pooled([kind.answers for kind in kinds]), group)
            for group in GROUPS[1:]
            if (kinds := self.group(group))
        }


def evaluate(
    predictor: Predictor,
    digits: Path | None,
    data: Sequence[Path],
    pictures: int,
    seed: int,
    download: bool,
    report: Report,
) -> Evaluation:
    """Measures on MNIST in the folder `digits`, on pictures generated from it, and on each data set of `data`.

    Without `digits` it measures on `data` alone. The same seed gives the same metrics. Raises DataError.
    """
    datasets = [("data sets", dataset) for dataset in map(load, data)]
    if digits:
        _, held_out = mnist.split(mnist.training_set(digits, download))
        test = mnist.test_set(digits, download)
        whole = {"MNIST test": test, HELD_OUT: held_out}
        datasets = [("data sets", of_digits(name, part)) for name, part in whole.items()] + datasets
        datasets += generated(held_out, test, pictures, seed)
    return Evaluation(predictor.model, seed, evaluated(predictor, datasets, report))


def evaluated(predictor: Predictor, datasets: Sequence[tuple[str, Dataset]], report: Report) -> list[EvaluatedKind]:
    """Evaluates each (group, data set)."""
    kinds = []
    with report.bar("evaluating", sum(len(dataset.samples) for _, dataset in datasets)) as bar:
        for group, dataset in datasets:
            bar.update(title=dataset.name)
            answers = answer(predictor, dataset.samples, bar.advance)
            kinds.append(EvaluatedKind(dataset.name, group, dataset.samples, answers, _metrics(answers, group)))
    return kinds


def _metrics(answers: Answers, group: str) -> Metrics:
    return outlier_metrics(answers) if group == OUTLIER_GROUP else digit_metrics(answers)


def generated(held_out: mnist.Digits, test: mnist.Digits, pictures: int, seed: int) -> Iterator[tuple[str, Dataset]]:
    """(group, data set of that many pictures) for each kind that is generated."""
    held_out = held_out[torch.from_numpy(redrawable(held_out.images.numpy(), held_out.labels.tolist()))]
    tiles, labels = held_out.images.numpy(), held_out.labels.tolist()
    test_tiles, test_labels = list(test.images.numpy()), test.labels.tolist()
    dataset = partial(_generated, pictures, seed)
    for name, draw in DRAWINGS.items():
        yield "drawn", dataset(name, draw, list(tiles), labels)
    for name, draw in PHOTOGRAPHS.items():
        yield "photographed", dataset(name, draw, list(tiles), labels)
    for name, (digit, forms) in handwriting.FORMS.items():
        yield "ways of writing", dataset(name, handwriting.picture, [forms], [digit])
    for name in mnist_c.CORRUPTIONS:
        corrupt = partial(mnist_c.picture, corruption=name)
        yield "corrupted", dataset(name, corrupt, test_tiles, test_labels)
    for name, compose in OUTLIERS.items():
        yield OUTLIER_GROUP, dataset(name, compose, [tiles], [NO_DIGIT])


def _generated(
    pictures: int,
    seed: int,
    name: str,
    draw: Callable[[Generator, Source], bytes],
    sources: Sequence[Source],
    labels: Sequence[int],
) -> Dataset:
    """Draws from the sources in a shuffled order that repeats, each picture with a random generator of its own."""
    seeds = [seed, zlib.crc32(name.encode())]
    order = np.random.default_rng(seeds).permutation(len(sources)).tolist()
    samples = []
    for index in range(pictures):
        chosen = order[index % len(order)]
        read = partial(_draw, draw, sources[chosen], [*seeds, index])
        samples.append(Sample(f"{name} {index}", labels[chosen], read))
    return Dataset(name, samples)


def _draw(draw: Callable[[Generator, Source], bytes], source: Source, seeds: list[int]) -> bytes:
    return draw(np.random.default_rng(seeds), source)
