"""Intervals over lesions: against SciPy, and against what they must do."""

import numpy as np
import pytest
from scipy.stats import binomtest

from training import weighted
from training.intervals import Bootstrap, Figure, rate, wilson


@pytest.fixture
def truth():
    return np.random.default_rng(10).choice(7, 400, p=(0.05, 0.1, 0.1, 0.05, 0.1, 0.55, 0.05))


@pytest.fixture
def scores(truth):
    return np.random.default_rng(11).normal(0, 1, (len(truth), 7)) + 1.5 * np.eye(7)[truth]


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (12, 12), (61, 74), (1, 300)])
def test_wilsons_interval_is_scipys(hits, trials):
    expected = binomtest(hits, trials).proportion_ci(method="wilson")

    assert wilson(hits / trials, trials) == pytest.approx((expected.low, expected.high))


def test_a_rate_knows_doubt_where_nothing_was_missed():
    everything = np.ones(12, bool)

    figure = rate(everything, everything, np.ones(12), np.arange(12).astype(str))

    assert figure.value == 1
    assert figure.low == pytest.approx(0.757, abs=1e-3)


def test_images_of_one_lesion_are_one_trial():
    hit, among = np.array([True, True, True, False]), np.ones(4, bool)

    figure = rate(hit, among, np.ones(4), np.array(["a", "a", "a", "b"]))

    assert figure.value == 0.75
    assert (figure.low, figure.high) == wilson(0.75, 2)


def test_a_rate_among_nothing_is_no_figure():
    figure = rate(np.ones(2, bool), np.zeros(2, bool), np.ones(2), np.array(["a", "b"]))

    assert figure.named("ppv") == {"ppv": None, "ppv_interval": None}


def test_the_bootstrap_holds_the_figure_and_narrows_with_more_lesions(truth, scores):
    def figure(copies):
        bootstrap = Bootstrap(np.tile(truth, copies), np.arange(len(truth) * copies).astype(str), seed=1)
        return bootstrap.figure(
            weighted.balanced_accuracy(np.tile(truth, copies), np.tile(scores, (copies, 1)))
        )

    few, many = figure(1), figure(4)
    assert few.low < few.value < few.high
    assert many.value == pytest.approx(few.value)
    assert many.high - many.low == pytest.approx((few.high - few.low) / 2, rel=0.2)


def test_many_images_of_few_lesions_do_not_narrow_the_bootstrap(truth, scores):
    statistic = weighted.balanced_accuracy(truth, scores)

    def width(lesions):
        figure = Bootstrap(truth, lesions, seed=1).figure(statistic)
        return figure.high - figure.low

    order = np.lexsort((weighted.hits(truth, scores), truth))
    clustered = np.empty(len(truth), int)
    clustered[order] = np.arange(len(truth)) // 5  # five images of a lesion, mostly alike
    assert width(clustered.astype(str)) > 1.5 * width(np.arange(len(truth)).astype(str))


def test_one_seed_gives_one_interval(truth, scores):
    lesions = np.arange(len(truth)).astype(str)
    first, second = (
        Bootstrap(truth, lesions, seed=5).figure(weighted.balanced_accuracy(truth, scores)) for _ in range(2)
    )

    assert first == second


def test_some_images_alone_are_resampled_with_the_others(truth, scores):
    inside = np.arange(len(truth)) % 2 == 0
    lesions = np.arange(len(truth)).astype(str)

    figure = (
        Bootstrap(truth, lesions, seed=1)
        .within(inside)
        .figure(weighted.balanced_accuracy(truth[inside], scores[inside]))
    )

    assert isinstance(figure, Figure)
    assert figure.low < figure.value < figure.high
