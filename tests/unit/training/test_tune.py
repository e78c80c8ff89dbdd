"""A search that can be killed, on a network and images small enough for seconds."""

import json

import pytest

from tests.unit.training.test_run import RECIPE, Killed, KillsInStep, Silent
from training.recipe import Recipe, read_recipe
from training.run import CHECKPOINT, prepare
from training.tune import BEST, open_study, tune


@pytest.fixture(scope="module")
def prepared(dataset, tmp_path_factory):
    return prepare(dataset, tmp_path_factory.mktemp("prepared"), RECIPE.input_size, Silent())


def search(prepared, out, trials, watcher=None):
    done = []
    best = tune(prepared, out, RECIPE, trials, watcher or Silent(), done.append, pretrained=False)
    return best, done


def test_a_killed_search_goes_on_with_the_trial_that_was_running(prepared, tmp_path):
    with pytest.raises(Killed):
        search(prepared, tmp_path, 2, KillsInStep(7))
    (interrupted,) = tmp_path.glob("trial-*")
    assert (interrupted / CHECKPOINT).exists()

    best, done = search(prepared, tmp_path, 2)

    assert len(done) == 2
    assert len(list(tmp_path.glob("trial-*"))) == 2  # the interrupted one and one more
    assert best.value == min(trial.value for trial in done)
    again, none = search(prepared, tmp_path, 2)
    assert again == best
    assert none == []


def test_the_best_recipe_is_a_file_that_training_takes(prepared, tmp_path):
    best, _ = search(prepared, tmp_path, 1)

    recipe = Recipe(**read_recipe(tmp_path / BEST))

    assert recipe.peak_rate == best.choices["peak_rate"]
    assert recipe.augmentation.contrast == best.choices["colour"]
    assert recipe.input_size == Recipe().input_size  # the size of the search is not that of the training
    assert json.loads((tmp_path / BEST).read_text()).keys().isdisjoint({"epochs", "seed", "network"})
    assert open_study(tmp_path).best_value == best.value
