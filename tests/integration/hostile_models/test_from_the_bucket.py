"""Somebody can write to the bucket, and has no key."""

from collections.abc import Callable

from structlog.testing import capture_logs

from dermabatch.artifacts import MAX_MANIFEST_BYTES, sign_manifest
from dermabatch.manifest import (
    GOLDEN,
    MANIFEST,
    OPENVINO_BIN,
    OPENVINO_XML,
    OUT_OF_DISTRIBUTION,
    SIGNATURE,
    WEIGHTS,
)
from tests.integration.hostile_models.standing import FOREIGN_KEY, Worker, evil_objects, refused_models


def flipped(name: str) -> Callable[[Worker], None]:
    def strike(standing: Worker) -> None:
        content = standing.store.get(standing.key(name))
        middle = len(content) // 2
        standing.change(name, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])

    return strike


def missing(name: str) -> Callable[[Worker], None]:
    return lambda standing: standing.store.delete(standing.key(name))


def added(name: str, content: bytes = b"more") -> Callable[[Worker], None]:
    return lambda standing: standing.change(name, content)


def longer(name: str, by: int) -> Callable[[Worker], None]:
    return lambda standing: standing.change(name, standing.store.get(standing.key(name)) + bytes(by))


def signed_by_a_stranger(standing: Worker) -> None:
    standing.change(SIGNATURE, sign_manifest(standing.store.get(standing.key(MANIFEST)), FOREIGN_KEY))


def another_model_by_a_stranger(standing: Worker) -> None:
    for name, content in evil_objects(standing.old, FOREIGN_KEY, {}).items():
        standing.change(name, content)


def the_older_version(standing: Worker) -> None:
    for info in list(standing.store.list(f"models/{standing.old.digest}/")):
        standing.change(info.key.removeprefix(f"models/{standing.old.digest}/"), standing.store.get(info.key))


def the_older_manifest(standing: Worker) -> None:
    for name in (MANIFEST, SIGNATURE):
        standing.change(name, standing.store.get(f"models/{standing.old.digest}/{name}"))


FILES = (MANIFEST, SIGNATURE, WEIGHTS, OPENVINO_XML, OPENVINO_BIN, GOLDEN, OUT_OF_DISTRIBUTION, "card.md")
INTO_THE_BUCKET = {
    **{f"a flipped bit in {name}": flipped(name) for name in (*FILES, "report.json")},
    **{f"no {name}": missing(name) for name in FILES},
    "a plugin beside the network": added("openvino/plugin.so"),
    "a Keras model beside the weights": added("model.keras"),
    "weights in HDF5 beside the weights": added("weights.h5"),
    "a manifest of absurd length": longer(MANIFEST, MAX_MANIFEST_BYTES),
    "a signature of absurd length": longer(SIGNATURE, 2**20),
    "weights longer than the manifest says": longer(WEIGHTS, 2**20),
    "a stranger's signature": signed_by_a_stranger,
    "a stranger's model": another_model_by_a_stranger,
    "the older version in place of the newer": the_older_version,
    "the older manifest over the newer files": the_older_manifest,
}


def test_what_somebody_with_the_bucket_brings_in_is_refused_before_any_parser_sees_it(
    standing, parsed, database, subtests, monkeypatch
):
    called, watch = parsed
    standing.activate(standing.new.digest)
    prefix = standing.key("")
    sound = {info.key: standing.store.get(info.key) for info in standing.store.list(prefix)}
    watch()
    for number, (name, strike) in enumerate(INTO_THE_BUCKET.items(), start=1):
        with subtests.test(name):
            strike(standing)
            standing.serving._retry_at.clear()  # as if an hour had gone
            with capture_logs() as logs:
                assert standing.served() == standing.old.digest
            assert called == []
            assert [log["log_level"] for log in logs if log["event"] == "model_refused"] == ["error"]
            refused = refused_models(database)
            assert (len(refused), refused[-1][0]) == (number, standing.new.digest)
            assert [copy.name for copy in standing.settings.model_cache.iterdir()] == [standing.old.digest]
        for info in list(standing.store.list(prefix)):
            standing.store.delete(info.key)
        for key, content in sound.items():
            standing.store.put(key, content)
    monkeypatch.undo()
    standing.serving._retry_at.clear()
    assert standing.served() == standing.new.digest, "put right again, it serves"


def test_the_doctor_names_a_model_that_was_changed_in_the_bucket(standing):
    assert standing.doctor().ok
    standing.activate(standing.new.digest)
    flipped(OPENVINO_BIN)(standing)
    check = standing.doctor()
    assert not check.ok
    assert OPENVINO_BIN in check.finding
    assert "dermabatch models rollback" in check.remedy
