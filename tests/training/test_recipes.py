import dataclasses

import pytest

from training import recipes
from training.recipes import RECIPES, TEACHER_RECIPES, TUTORIAL, Recipe, Stage

RECIPE = Recipe(
    "convnet", (Stage(epochs=6, learning_rate=0.004), Stage(3, 0.001, distil=True)), teachers=("wide", "deep")
)


def test_without_changes_a_recipe_stays_as_it_is() -> None:
    assert RECIPE.with_changes() == RECIPE
    assert RECIPE.epochs == 9
    assert TUTORIAL.with_changes() == TUTORIAL


def test_another_learning_rate_keeps_the_ratio_between_stages() -> None:
    found = RECIPE.with_changes(learning_rate=0.002)
    assert [stage.learning_rate for stage in found.stages] == pytest.approx([0.002, 0.0005])


def test_epochs_leave_one_stage_without_teachers() -> None:
    found = RECIPE.with_changes(epochs=2, network="net")
    assert found == Recipe("net", (Stage(epochs=2, learning_rate=0.004),))


def test_without_teachers_the_same_stages_learn_from_labels() -> None:
    found = RECIPE.without_teachers()
    assert [(stage.epochs, stage.distil) for stage in found.stages] == [(6, False), (3, False)]
    assert found.teachers == ()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_distils_has_teachers_and_a_recipe_for_them(name: str) -> None:
    recipe = RECIPES[name]
    distils = any(stage.distil for stage in recipe.stages)
    assert distils == bool(recipe.teachers) == (name in TEACHER_RECIPES)


def test_the_tutorial_has_the_settings_that_its_loop_uses_and_no_others() -> None:
    tutorial = recipes.find("tutorial").with_changes(network="sequential", epochs=2)
    assert dataclasses.asdict(tutorial) == {
        "network": "sequential",
        "epochs": 2,
        "batch_size": 64,
        "learning_rate": 0.002,
        "averaging": 0.95,
        "average_every": 5,
    }
