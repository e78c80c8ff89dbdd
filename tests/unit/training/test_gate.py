"""The gate on painted lesions, with models that see their colours."""

from dataclasses import replace

import numpy as np
import pytest

from dermabatch.clinical import VALUES, Field
from dermabatch.gate import Basis, Difference
from dermabatch.manifest import MAX_EVIDENCE, Fusion
from dermabatch.taxonomy import CLASSES
from tests.colour_model import fitted_weights, write_colour_model
from training import gate
from training.data import read_samples
from training.errors import UnusableData
from training.gate import compare, read_held_out
from training.split import Side, split_by_lesion, split_table

MEL, NV = CLASSES.index("mel"), CLASSES.index("nv")


@pytest.fixture(scope="module")
def samples(dataset):
    return read_samples(dataset)


@pytest.fixture(scope="module")
def split(samples, tmp_path_factory):
    """Half of the lesions are held out: enough to tell models apart."""
    path = tmp_path_factory.mktemp("split") / "split.csv"
    table = split_table(samples, split_by_lesion(samples, 7))
    halves = (
        line.replace("train", "test") if number % 2 else line
        for number, line in enumerate(table.splitlines())
    )
    path.write_text("\n".join(halves) + "\n")
    return path


@pytest.fixture(scope="module")
def held_out(dataset, split):
    return read_held_out(dataset, split, Side.TEST)


@pytest.fixture(scope="module")
def weights(samples):
    return fitted_weights(samples)


@pytest.fixture
def model(tmp_path, held_out, monkeypatch):
    """Makes an artifact that only OpenVINO serves."""
    monkeypatch.setattr(gate, "installed_engines", lambda: ("openvino",))

    def _model(name, weights, split_digest=held_out.split_digest, **options):
        return write_colour_model(tmp_path / name, weights, name=name, split_digest=split_digest, **options)

    return _model


@pytest.fixture
def aged(held_out):
    """The same images, with an age that tells melanomas from all other lesions."""
    samples = [replace(one, age=70.0 if one.label == MEL else 30.0) for one in held_out.samples]
    return replace(held_out, samples=samples)


def fusion(*, of_the_old):
    """A fusion that weighs the age alone: `of_the_old` for melanoma at 70 and above, nothing below."""
    old = [of_the_old if label == MEL else 0.0 for label in range(len(CLASSES))]
    nothing = (0.0,) * len(CLASSES)
    ages = VALUES[Field.AGE]
    return Fusion(evidence={Field.AGE: {age: tuple(old) if age >= "70" else nothing for age in ages}})


def doubting_melanomas(weights, *, by):
    """Weights of a model that is sure of nothing, whose logits for the true class exceed the others by about 1.2."""
    hesitant = weights * 0.1
    hesitant[-1, MEL] -= by
    return hesitant


def alone(result):
    """What the pictures alone come to; only that was compared."""
    (compared,) = result.compared.values()
    return compared


def failed(result):
    return [check.name for check in result.checks if not check.passed]


def test_a_model_that_answers_alike_passes(model, weights, held_out):
    result = compare(model("candidate", weights), model("active", weights), held_out)
    compared = alone(result)
    assert compared.candidate == compared.active
    assert compared.bma_difference == Difference(0, 0, 0)
    assert compared.active.bma > 0.9, "the models should tell these colours apart"
    assert failed(result) == []
    assert (result.images, result.remarks) == (len(held_out.samples), ())


def test_a_model_that_calls_melanomas_nevi_fails_by_name(model, weights, held_out):
    blind = weights.copy()
    blind[:, NV] = np.maximum(weights[:, NV], weights[:, MEL]) + 5
    blind[:, MEL] = weights[:, MEL] - 50
    result = compare(model("candidate", blind), model("active", weights), held_out)
    assert alone(result).candidate.melanoma_sensitivity == 0
    assert {"bma", "melanoma_flagged", "melanoma_sensitivity"} <= set(failed(result))
    assert "melanomas flagged by triage" in result.verdict()


def test_the_better_of_two_models_passes_and_the_other_way_round_fails(model, weights, held_out):
    noisy = weights + np.random.default_rng(5).normal(0, 8, weights.shape).astype(np.float32)
    better, worse = model("better", weights), model("worse", noisy)
    assert alone(compare(better, worse, held_out)).bma_difference.low > 0
    back = compare(worse, better, held_out)
    assert alone(back).bma_difference.high < 0
    assert "bma" in failed(back)


def test_a_model_that_weighs_an_age_is_judged_with_and_without_it(model, weights, aged):
    hesitant = doubting_melanomas(weights, by=1.2)
    candidate = model("candidate", hesitant, fusion=fusion(of_the_old=MAX_EVIDENCE))
    result = compare(candidate, model("active", hesitant), aged)
    by_picture, by_all = (result.compared[basis] for basis in Basis)
    assert by_picture.candidate == by_picture.active == by_all.active
    assert by_all.candidate.melanoma_sensitivity > by_all.active.melanoma_sensitivity
    assert by_all.bma_difference.value > 0
    assert result.remarks == ()


def test_a_fusion_that_spoils_what_the_picture_shows_is_refused_although_the_picture_is_read_alike(
    model, weights, aged
):
    hesitant = doubting_melanomas(weights, by=0.6)
    candidate = model("candidate", hesitant, fusion=fusion(of_the_old=-MAX_EVIDENCE))
    result = compare(candidate, model("active", hesitant), aged)
    assert "melanoma_sensitivity: all_known" in failed(result)
    assert all(name.endswith(": all_known") for name in failed(result))
    assert "melanoma_flagged: all_known" not in failed(result), "what is known never lowers a level"


def test_images_of_which_nothing_is_known_leave_a_fusion_unjudged_and_the_result_says_so(
    model, weights, held_out
):
    nothing_known = replace(held_out, samples=[replace(one, age=None) for one in held_out.samples])
    candidate = model("candidate", weights, fusion=fusion(of_the_old=MAX_EVIDENCE))
    result = compare(candidate, model("active", weights), nothing_known)
    assert list(result.compared) == [Basis.PICTURE_ALONE]
    (remark,) = result.remarks
    assert "was not judged" in remark


def test_the_same_comparison_gives_the_same_result_again(model, weights, held_out):
    pair = (model("candidate", weights * 0.9), model("active", weights))
    assert compare(*pair, held_out).as_json() == compare(*pair, held_out).as_json()


@pytest.mark.parametrize("foreign", ["candidate", "active"])
def test_a_model_that_may_know_the_images_is_not_compared_unless_told_to(model, weights, held_out, foreign):
    models = {
        name: model(name, weights, split_digest="f" * 64 if name == foreign else held_out.split_digest)
        for name in ("candidate", "active")
    }
    with pytest.raises(UnusableData, match=f"The {foreign}.* another split .*--other-split"):
        compare(models["candidate"], models["active"], held_out)
    result = compare(models["candidate"], models["active"], held_out, other_split=True)
    assert len(result.remarks) == 1
    assert result.summary()["remarks"] == list(result.remarks)


def test_an_engine_that_cannot_serve_the_candidate_fails_the_gate(model, weights, held_out, monkeypatch):
    pytest.importorskip("tensorflow")
    monkeypatch.setattr(gate, "installed_engines", lambda: ("openvino", "tensorflow"))
    result = compare(model("candidate", weights), model("active", weights), held_out)
    assert failed(result) == ["golden: tensorflow"]  # its weights are no tensors


def test_progress_counts_the_answers_of_both(model, weights, held_out):
    heard = []
    compare(
        model("candidate", weights),
        model("active", weights),
        held_out,
        progress=lambda done, answers: heard.append((done, answers)),
    )
    assert heard[-1] == (2 * len(held_out.samples), 2 * len(held_out.samples))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_a_side_without_a_class_is_refused(dataset, split, tmp_path):
    without = tmp_path / "split.csv"
    rows = split.read_text().splitlines()
    melanomas = {sample.image_id for sample in read_samples(dataset) if sample.label == MEL}
    kept = (row.replace("test", "train") if row.split(",")[0] in melanomas else row for row in rows)
    without.write_text("\n".join(kept))
    with pytest.raises(UnusableData, match=r"Missing: mel\."):
        read_held_out(dataset, without, Side.TEST)


def test_a_split_of_other_images_is_refused(dataset, tmp_path):
    foreign = tmp_path / "split.csv"
    foreign.write_text("image_id,side\nISIC_unknown,test\n")
    with pytest.raises(UnusableData, match="ISIC_unknown"):
        read_held_out(dataset, foreign, Side.TEST)
