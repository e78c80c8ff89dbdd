"""In what OpenVINO computes: the fastest that passed and that the processor knows, and never anything else."""

import pytest

from dermabatch.engines.loading import choose_precision
from dermabatch.manifest import OPENVINO_INT8_BIN, OPENVINO_INT8_XML, FileRecord, Manifest, ReducedPrecision
from tests.situations import tiny_manifest

EVERYTHING = frozenset({"f32", "bf16", "int8"})


def measured(*, agreement=0.995, melanomas_lost=0, speed=2.0):
    return ReducedPrecision(
        images=1000,
        agreement=agreement,
        melanomas_lost=melanomas_lost,
        full_layers=0,
        speed=speed,
        golden_tolerance=0.1,
    )


def manifest(**precisions):
    return tiny_manifest().model_copy(update={"precisions": precisions or None})


def test_auto_takes_the_fastest_that_passed():
    both = manifest(bf16=measured(speed=1.8), int8=measured(speed=2.5))
    assert choose_precision(both, "auto", EVERYTHING) == "int8"
    assert choose_precision(both, "auto", {"f32", "bf16"}) == "bf16"
    assert choose_precision(both, "auto", {"f32"}) == "f32"


@pytest.mark.parametrize("reason", [{"agreement": 0.9899}, {"melanomas_lost": 1}])
def test_a_precision_that_failed_its_gate_never_serves(reason):
    failed = manifest(bf16=measured(**reason), int8=measured(**reason))
    for wanted in ("auto", "bf16", "int8"):
        assert choose_precision(failed, wanted, EVERYTHING) == "f32"


def test_a_model_that_was_not_measured_is_computed_in_full_precision():
    for wanted in ("auto", "f32", "bf16", "int8"):
        assert choose_precision(manifest(), wanted, EVERYTHING) == "f32"


def test_a_person_may_ask_for_a_slower_one():
    both = manifest(bf16=measured(speed=1.8), int8=measured(speed=2.5))
    assert choose_precision(both, "bf16", EVERYTHING) == "bf16"
    assert choose_precision(both, "f32", EVERYTHING) == "f32"


def test_a_manifest_that_allows_int8_must_bring_its_files():
    allowing = manifest(int8=measured())
    with pytest.raises(ValueError, match="OpenVINO files in int8"):
        Manifest.model_validate_json(allowing.to_bytes())
    record = FileRecord(sha256="0" * 64, bytes=1)
    files = allowing.files | {OPENVINO_INT8_XML: record, OPENVINO_INT8_BIN: record}
    complete = allowing.model_copy(update={"files": files})
    assert Manifest.model_validate_json(complete.to_bytes()) == complete


def test_a_manifest_without_precisions_keeps_its_spelling():
    assert b"precisions" not in tiny_manifest().to_bytes()
