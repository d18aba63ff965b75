"""The recipes, by name: every setting of a training run that is not a matter of where it runs."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Part:
    """A stretch of epochs over which the learning rate rises and falls once.

    distorted: how far tiles are, 1 as far as hands differ; damaged: the share of tiles that lose quality; forms and
    outliers: how many digits of rare forms, and tiles of no digit, are drawn for it; taught: MNIST's digits by the
    answers of teachers, where there are any, and not by labels; dropout: as the network has it, or none.
    """

    epochs: int
    learning_rate: float
    distorted: float = 1.0
    damaged: float = 0.0
    forms: int = 0
    outliers: int = 0
    taught: bool = False
    dropout: bool = True


@dataclass(frozen=True)
class Recipe:
    """averaging: how much of the averaged weights a step keeps; each part begins with the best weights of the last.

    muon: how many times the learning rate the kernels of convolutions learn at, by Muon; 0 for AdamW as all else.
    teachers: the networks that are trained before, by the recipe that TEACHING names.
    """

    network: str
    batch_size: int
    parts: tuple[Part, ...]
    weight_decay: float = 0.0
    averaging: float = 0.0
    muon: float = 0.0
    teachers: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Of all parts."""
        return sum(part.epochs for part in self.parts)

    def but(self, *, network: str | None = None, epochs: int | None = None, learning_rate: float | None = None) -> Self:
        """With these settings where they are given.

        epochs: of the first part, which then is the only one, untaught; learning_rate: of the first part, and those of
        the others in proportion.
        """
        factor = learning_rate / self.parts[0].learning_rate if learning_rate else 1
        parts = tuple(replace(part, learning_rate=part.learning_rate * factor) for part in self.parts)
        whole = replace(self, network=network or self.network, parts=parts)
        return replace(whole, parts=(replace(parts[0], epochs=epochs),)).untaught() if epochs else whole

    def untaught(self) -> Self:
        """The same by labels alone."""
        return replace(self, parts=tuple(replace(part, taught=False) for part in self.parts), teachers=())


def _averaged(network: str, *parts: Part, teachers: tuple[str, ...] = ()) -> Recipe:
    """AdamW over augmented tiles, averaged weights. training/loop/fit.py"""
    return Recipe(network, batch_size=128, parts=parts, weight_decay=0.02, averaging=0.999, teachers=teachers)


def _taught(*teachers: str) -> Recipe:
    """Practice in the worst, lessons in what hands mostly write, among outliers never seen before, and rare forms."""
    practice = Part(epochs=24, learning_rate=0.004, distorted=0.8, damaged=1 / 3, outliers=60_000)
    lessons = Part(epochs=12, learning_rate=0.002, distorted=0.6, damaged=1 / 10, outliers=30_000, taught=True)
    # At the low rate that ends it, and by teachers, nothing is learned by heart that dropout would keep from it.
    rare = replace(lessons, epochs=8, learning_rate=0.001, forms=12_000, dropout=False)
    return _averaged("convnet", practice, lessons, rare, teachers=teachers)


RECIPES = {
    # The classic first lesson: plain Adam, no augmentation, no schedule. training/loop/tutorial.py
    "tutorial": Recipe("net", batch_size=64, parts=(Part(epochs=1, learning_rate=0.002),)),
    # By teachers that a processor trains in an hour.
    "default": _taught("wide", "deep"),
    # By teachers that take hours of a processor, or minutes of a GPU. It made the released convnet.
    "long": _taught("large", "unpooled", "wide"),
    # Made the released net: a small network takes longer, and is too small for what large ones say.
    "net": _averaged(
        "net",
        Part(epochs=120, learning_rate=0.004, damaged=1 / 3, outliers=60_000),
        Part(epochs=5, learning_rate=0.0008, distorted=0.5, damaged=1 / 5, outliers=20_000),
        Part(epochs=8, learning_rate=0.0008, distorted=0.5, damaged=1 / 5, forms=12_000, outliers=20_000),
    ),
    # Those that teach: how hands differ, and nothing else.
    "teacher": _averaged(
        "wide",
        Part(epochs=18, learning_rate=0.004, distorted=0.8),
        Part(epochs=4, learning_rate=0.0008, distorted=0.5),
    ),
    "long-teacher": _averaged(
        "large",
        Part(epochs=60, learning_rate=0.004, distorted=0.8),
        Part(epochs=10, learning_rate=0.0008, distorted=0.5),
    ),
    # In about a minute on two cores: accurate, but no practice in damage and in what is no digit.
    "quick": Recipe(
        "convnet",
        batch_size=64,
        weight_decay=0.02,
        averaging=0.99,
        muon=2.5,
        parts=(Part(epochs=2, learning_rate=0.004, distorted=0.3),),
    ),
}
TEACHING = {"default": "teacher", "long": "long-teacher"}
"""By which recipe the teachers of a recipe are trained."""
