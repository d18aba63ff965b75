import torch

from models.inference import networks
from training.loop.state import TrainState
from training.recipes import RECIPES


def test_the_best_averaged_weights_are_kept_and_not_the_last() -> None:
    recipe = RECIPES["net"]
    state = TrainState(recipe, recipe.stages[0], networks.create("net"), batches=10, seed=0)
    kept = []
    for number, (errors, loss) in enumerate([(5, 0.2), (3, 0.3), (4, 0.1), (3, 0.4), (3, 0.25)]):
        torch.nn.init.constant_(state.average.module.fc3.bias, number)
        state.keep_best(errors, loss)
        kept.append(int(state.best_weights["fc3.bias"][0]))
    assert kept == [0, 1, 1, 1, 4]
    assert state.best == (3, 0.25)
