"""Recipes: what a file may change, and what it may not."""

import json

import pytest

from training.errors import UnusableRecipe
from training.recipe import Recipe, learning_rate, read_recipe


def recipe_file(tmp_path, **fields):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(fields))
    return path


def test_a_file_names_the_fields_it_changes(tmp_path):
    fields = read_recipe(recipe_file(tmp_path, peak_rate=0.001, augmentation={"smallest_frame": 0.5}))

    recipe = Recipe(**fields)
    assert recipe.peak_rate == 0.001
    assert recipe.augmentation.smallest_frame == 0.5
    assert recipe.augmentation.tint == Recipe().augmentation.tint
    assert fields.keys() == {"peak_rate", "augmentation"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"augmentation": {"zoom": 2}}, r"augmentation\.zoom"),
        ({"epochs": "many"}, "epochs"),
        ({"imbalance": "hope"}, "imbalance"),
    ],
)
def test_what_is_no_field_of_a_recipe_is_named(tmp_path, fields, named):
    with pytest.raises(UnusableRecipe, match=named):
        read_recipe(recipe_file(tmp_path, **fields))


def test_a_file_that_is_not_there_or_no_json_is_named(tmp_path):
    with pytest.raises(UnusableRecipe, match=r"nowhere\.json"):
        read_recipe(tmp_path / "nowhere.json")
    (tmp_path / "half.json").write_text("{")
    with pytest.raises(UnusableRecipe, match=r"half\.json"):
        read_recipe(tmp_path / "half.json")


def test_early_epochs_see_small_views_and_late_ones_large():
    recipe = Recipe(input_size=224, epochs=10)

    assert [recipe.view_size(epoch) for epoch in (0, 6, 7, 9)] == [160, 160, 192, 192]


def test_the_rate_warms_up_and_then_falls_to_nothing():
    rates = [learning_rate(Recipe(peak_rate=1.0, warm_up=0.1), step, 100) for step in range(100)]

    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
