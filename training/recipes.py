"""The recipes, by name: every setting of a training run that is not a matter of where it runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """averaging: how much of the averaged weights a step keeps; distorted: how far tiles are, 1 as far as hands
    differ; damaged: the share of tiles that lose quality; outliers: how many tiles of no digit are drawn for the run.
    """

    network: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    averaging: float = 0.0
    distorted: float = 1.0
    damaged: float = 0.0
    outliers: int = 0


RECIPES = {
    # The classic first lesson: plain Adam, no augmentation, no schedule. training/tutorial.py
    "tutorial": Recipe(network="net", epochs=1, batch_size=64, learning_rate=0.002),
    # AdamW on a one-cycle schedule over augmented tiles, averaged weights. training/fitting.py
    "default": Recipe(
        network="convnet",
        epochs=48,
        batch_size=128,
        learning_rate=0.004,
        weight_decay=0.02,
        averaging=0.999,
        damaged=1 / 3,
        outliers=60_000,
    ),
    # The same in about a minute on two cores: accurate, but no practice in damage and in what is no digit.
    "quick": Recipe(network="convnet", epochs=3, batch_size=64, learning_rate=0.004, weight_decay=0.02, averaging=0.99),
}
