from dataclasses import replace

import pytest

from training.recipes import RECIPES


def test_the_last_part_of_a_run_is_gentler() -> None:
    recipe = replace(RECIPES["default"], epochs=6, distorted=1.0, damaged=0.5, settling=1 / 3)
    assert [recipe.strengths(epoch) for epoch in range(1, 7)] == [(1.0, 0.5)] * 4 + [(0.5, 0.25)] * 2


@pytest.mark.parametrize("name", RECIPES)
def test_without_settling_every_epoch_is_alike(name: str) -> None:
    recipe = replace(RECIPES[name], epochs=3, settling=0.0)
    assert {recipe.strengths(epoch) for epoch in (1, 2, 3)} == {(recipe.distorted, recipe.damaged)}
