import pytest

from training.recipes import RECIPES, Part, Recipe

RECIPE = Recipe(
    "convnet", 64, (Part(epochs=6, learning_rate=0.004), Part(3, 0.001, taught=True)), teachers=("wide", "deep")
)


def test_what_is_not_given_stays() -> None:
    assert RECIPE.but() == RECIPE
    assert RECIPE.epochs == 9


def test_another_learning_rate_keeps_the_parts_in_proportion() -> None:
    assert [part.learning_rate for part in RECIPE.but(learning_rate=0.002).parts] == pytest.approx([0.002, 0.0005])


def test_epochs_leave_one_part_that_nobody_teaches() -> None:
    found = RECIPE.but(epochs=2, network="net")
    assert found == Recipe("net", 64, (Part(epochs=2, learning_rate=0.004),))


def test_untaught_has_the_same_parts_by_labels_alone() -> None:
    found = RECIPE.untaught()
    assert [(part.epochs, part.taught) for part in found.parts] == [(6, False), (3, False)]
    assert found.teachers == ()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_who_has_teachers_has_lessons(recipe: Recipe) -> None:
    assert any(part.taught for part in recipe.parts) == bool(recipe.teachers)
