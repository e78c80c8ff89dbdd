"""Deletion and insertion of maps whose worth is known."""

import json

import numpy as np
import pytest

from dermabatch.explain import (
    Explained,
    ExplainedModel,
    Explanation,
    Faithfulness,
    Method,
    baselines,
    evaluations,
    explain_and_judge,
    faithfulness,
    faithfulness_table,
)
from tests.unit.explain.toy_models import (
    MELANOMA,
    SIZE,
    SPOT,
    picture_with_a_spot,
    quilt,
    redness_network,
    what_is_left,
)

SPOT_ALONE = np.zeros((SIZE, SIZE), np.int64)
SPOT_ALONE[SPOT] = 1


def share_of(areas):
    """A model whose score of every class is the share of the last area that is left."""
    return lambda images: np.repeat(what_is_left(images, areas)[:, -1:], 7, axis=1)


def test_the_areas_of_a_linear_model_are_those_of_its_triangles():
    covered = SPOT_ALONE.mean()
    judged = faithfulness(share_of(SPOT_ALONE), quilt(), SPOT_ALONE.astype(float), MELANOMA)
    assert judged.deletion == pytest.approx(covered / 2, abs=0.005)
    assert judged.insertion == pytest.approx(1 - covered / 2, abs=0.005)


def test_no_order_is_better_than_another_where_every_pixel_counts_alike():
    everything = np.zeros((SIZE, SIZE), np.int64)
    saliency = np.random.default_rng(0).random((SIZE, SIZE))
    judged = faithfulness(share_of(everything), quilt(), saliency, MELANOMA)
    assert judged.deletion == pytest.approx(0.5, abs=0.01)
    assert judged.gap == pytest.approx(0, abs=0.01)


def test_the_true_map_beats_random_areas_and_the_centre():
    model, picture = ExplainedModel.of_network(redness_network()), picture_with_a_spot()
    true = faithfulness(model.predict, picture, SPOT_ALONE.astype(float), MELANOMA)
    others = baselines(model.predict, picture, MELANOMA)
    assert set(others) == {"random", "centre"}
    for other in others.values():
        assert true.deletion < other.deletion
        assert true.insertion > other.insertion


@pytest.mark.parametrize("method", Method)
def test_every_method_beats_random_areas_and_the_centre_where_the_spot_lies_apart(method):
    judged = explain_and_judge(ExplainedModel.of_network(redness_network()), picture_with_a_spot(), [method])
    assert judged.target == MELANOMA
    assert judged.beats_baselines(method)


def test_a_map_that_is_no_better_than_the_better_baseline_beats_none():
    judged = Explained(
        MELANOMA,
        np.full(7, 1 / 7),
        {Method.CAM: Explanation(SPOT_ALONE, Faithfulness(deletion=0.2, insertion=0.6), 0.0)},
        {"random": Faithfulness(0.4, 0.4), "centre": Faithfulness(0.1, 0.5)},
    )
    assert not judged.beats_baselines(Method.CAM)


def test_progress_hears_of_every_picture_that_the_model_is_shown():
    shown = []
    explain_and_judge(
        ExplainedModel.of_network(redness_network()),
        picture_with_a_spot(),
        list(Method),
        progress=shown.append,
    )
    assert sum(shown) == pytest.approx(evaluations(list(Method)), abs=20)


def test_the_table_of_a_report_has_a_row_for_each_method_and_each_baseline():
    pictures = np.stack([picture_with_a_spot(), picture_with_a_spot()[::-1]])
    done = []
    table = faithfulness_table(
        ExplainedModel.of_network(redness_network()), pictures, [Method.CAM], done.append
    )

    assert done == [1, 2]
    assert [(row["map"], row["images"]) for row in table] == [("cam", 2), ("random", 2), ("centre", 2)]
    cam, _, centre = table
    assert cam["beats_random"] == cam["beats_centre"] == 1
    assert cam["insertion"] > centre["insertion"]
    assert json.loads(json.dumps(table)) == table
