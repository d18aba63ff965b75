"""The recipes, by name: every setting of a training run but the seed, the folders and the device."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self


@dataclass(frozen=True)
class Stage:
    """Epochs that share one cycle of the learning rate."""

    epochs: int
    learning_rate: float  # the cycle's peak
    distorted: float = 1.0  # how far tiles are distorted; 1 covers how people's handwriting differs
    damaged: float = 0.0  # share of tiles that lose quality
    rare_forms: int = 0  # synthetic digits in forms that MNIST hardly has
    outliers: int = 0  # synthetic tiles of no digit
    distil: bool = False  # learn MNIST's digits from the teachers' soft targets, not from their labels
    dropout: bool = True  # False switches the network's dropout off


@dataclass(frozen=True)
class TutorialRecipe:
    """The settings of training/loop/tutorial.py."""

    network: str = "net"
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 0.002
    averaging: float = 0.95  # decay of the weights' moving average
    average_every: int = 5  # steps
    teachers: ClassVar[tuple[str, ...]] = ()

    def with_changes(self, network: str | None = None, epochs: int | None = None) -> Self:
        """A copy with the values that are not None."""
        return replace(self, network=network or self.network, epochs=epochs or self.epochs)


@dataclass(frozen=True)
class Recipe:
    """The settings of training/loop/fit.py. Each stage starts from the best weights of the stage before."""

    network: str
    stages: tuple[Stage, ...]
    batch_size: int = 128
    weight_decay: float = 0.02
    averaging: float = 0.999  # decay of the weights' moving average, per step
    muon: float = 0.0  # Muon's learning rate for convolution kernels, in learning rates; 0: AdamW trains them, too
    teachers: tuple[str, ...] = ()  # networks trained first, by the recipe in TEACHER_RECIPES

    @property
    def epochs(self) -> int:
        return sum(stage.epochs for stage in self.stages)

    def with_changes(
        self, network: str | None = None, epochs: int | None = None, learning_rate: float | None = None
    ) -> Self:
        """A copy with the values that are not None.

        epochs: the first stage gets so many, and there is no other stage and no teacher. learning_rate: the first
        stage's; the other stages keep their ratio to it.
        """
        changed = replace(self, network=network or self.network)
        if learning_rate:
            factor = learning_rate / self.stages[0].learning_rate
            scaled = tuple(replace(stage, learning_rate=stage.learning_rate * factor) for stage in self.stages)
            changed = replace(changed, stages=scaled)
        if epochs:
            changed = replace(changed, stages=(replace(changed.stages[0], epochs=epochs),)).without_teachers()
        return changed

    def without_teachers(self) -> Self:
        """A copy that learns from labels in every stage."""
        return replace(self, stages=tuple(replace(stage, distil=False) for stage in self.stages), teachers=())


def _distilled(*teachers: str) -> Recipe:
    """Hard practice first, then distillation on milder tiles, then distillation with rare forms."""
    practice = Stage(epochs=24, learning_rate=0.004, distorted=0.8, damaged=1 / 3, outliers=60_000)
    distillation = Stage(epochs=12, learning_rate=0.002, distorted=0.6, damaged=1 / 10, outliers=30_000, distil=True)
    # No dropout: at this learning rate, with distillation, the network does not overfit.
    rare = replace(distillation, epochs=8, learning_rate=0.001, rare_forms=12_000, dropout=False)
    return Recipe("convnet", (practice, distillation, rare), teachers=teachers)


TUTORIAL = TutorialRecipe()
RECIPES = {
    # Its teachers take a CPU about an hour.
    "default": _distilled("wide", "deep"),
    # Its teachers take a CPU hours, or a GPU minutes. Made the released convnet.
    "long": _distilled("large", "unpooled", "wide"),
    # Made the released net. A small network needs more epochs, and gains nothing from teachers.
    "net": Recipe(
        "net",
        (
            Stage(epochs=120, learning_rate=0.004, damaged=1 / 3, outliers=60_000),
            Stage(epochs=5, learning_rate=0.0008, distorted=0.5, damaged=1 / 5, outliers=20_000),
            Stage(epochs=8, learning_rate=0.0008, distorted=0.5, damaged=1 / 5, rare_forms=12_000, outliers=20_000),
        ),
    ),
    # The teachers' recipes: no damage and no synthetic tiles.
    "teacher": Recipe(
        "wide",
        (
            Stage(epochs=18, learning_rate=0.004, distorted=0.8),
            Stage(epochs=4, learning_rate=0.0008, distorted=0.5),
        ),
    ),
    "long-teacher": Recipe(
        "large",
        (
            Stage(epochs=60, learning_rate=0.004, distorted=0.8),
            Stage(epochs=10, learning_rate=0.0008, distorted=0.5),
        ),
    ),
    # About a minute on two cores: accurate on clean digits, untrained for damage and for tiles of no digit.
    "quick": Recipe(
        "convnet",
        (Stage(epochs=2, learning_rate=0.004, distorted=0.3),),
        batch_size=64,
        averaging=0.99,
        muon=2.5,
    ),
}
NAMES = ("tutorial", *RECIPES)
TEACHER_RECIPES = {"default": "teacher", "long": "long-teacher"}
"""The recipe that trains the teachers of a recipe."""


def find(name: str) -> Recipe | TutorialRecipe:
    """Raises KeyError for a name that is not in NAMES."""
    return TUTORIAL if name == "tutorial" else RECIPES[name]
