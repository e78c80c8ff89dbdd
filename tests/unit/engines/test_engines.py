"""Both engines on the shipped model: equal to each other, to its golden answers, and refused when they are not."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from dermabatch.artifacts import Artifact, read_artifact
from dermabatch.engines import Engine, EngineKind, EngineOutput, check_golden, choose_engine, load_engine
from dermabatch.errors import ArtifactRefused, ConfigurationError
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.manifest import GOLDEN, MANIFEST, OPENVINO_XML, describe_files
from dermabatch.out_of_distribution import read_detector
from dermabatch.shipped import SHIPPED_MODEL
from dermabatch.triage import calibrated_probabilities

KINDS: tuple[EngineKind, ...] = ("openvino", "tensorflow")


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    """The model in the repository."""
    return read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)


@pytest.fixture(scope="module")
def engines(artifact: Artifact) -> Iterator[dict[EngineKind, Engine]]:
    """Every engine, loaded with the shipped model."""
    for framework in KINDS:
        pytest.importorskip(framework)
    loaded = {kind: load_engine(artifact.folder, artifact.manifest, kind) for kind in KINDS}
    yield loaded
    for engine in loaded.values():
        engine.close()


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, engines: dict[EngineKind, Engine]) -> Engine:
    """Each engine in turn."""
    return engines[request.param]


@pytest.fixture(scope="module")
def images(artifact: Artifact) -> np.ndarray:
    """Twenty synthetic lesions, which is no multiple of any batch shape."""
    size = artifact.manifest.input_size
    return np.stack([lesion_image(seed, width=size, height=size) for seed in range(20)])


def probabilities(output: EngineOutput, artifact: Artifact) -> np.ndarray:
    return calibrated_probabilities(
        output.logits, artifact.manifest.temperature, artifact.manifest.prior.natural
    )


def test_engines_agree_on_every_probability(
    engines: dict[EngineKind, Engine], artifact: Artifact, images: np.ndarray
) -> None:
    openvino, tensorflow = (engines[kind].run(images) for kind in KINDS)
    difference = np.abs(probabilities(openvino, artifact) - probabilities(tensorflow, artifact)).max()
    assert difference < 1e-4  # the promise is 1e-3
    np.testing.assert_allclose(openvino.embedding, tensorflow.embedding, atol=1e-3)
    np.testing.assert_allclose(openvino.cam, tensorflow.cam, atol=1e-2)


def test_an_engine_reproduces_the_golden_answers(engine: Engine, artifact: Artifact) -> None:
    check_golden(engine, artifact)


def test_outputs_have_the_promised_shapes_and_types(
    engine: Engine, artifact: Artifact, images: np.ndarray
) -> None:
    output, detector = engine.run(images), read_detector(artifact)
    assert (output.logits.shape, output.logits.dtype) == ((20, 7), np.float32)
    assert (output.embedding.shape, output.embedding.dtype) == ((20, len(detector.mean)), np.float32)
    edge = output.cam.shape[1]
    assert (output.cam.shape, output.cam.dtype) == ((20, edge, edge, 7), np.float32)


def test_an_image_gets_the_same_answer_alone_and_among_others(engine: Engine, images: np.ndarray) -> None:
    together = engine.run(images).logits
    alone = np.concatenate([engine.run(images[i : i + 1]).logits for i in range(len(images))])
    np.testing.assert_allclose(alone, together, atol=1e-4)


def test_threads_share_an_engine_without_mixing_their_answers(engine: Engine, images: np.ndarray) -> None:
    expected = engine.run(images).logits
    cuts = [(start, start + 1 + start % 4) for start in range(16)]
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda cut: engine.run(images[slice(*cut)], priority=cut[0] % 2).logits, cuts)
        for (start, end), logits in zip(cuts, answers, strict=True):
            np.testing.assert_allclose(logits, expected[start:end], atol=1e-4)


def test_images_that_do_not_lie_in_a_row_in_memory_are_taken_too(engine: Engine, images: np.ndarray) -> None:
    mirrored = images[:2, :, ::-1]
    np.testing.assert_array_equal(
        engine.run(mirrored).logits, engine.run(np.ascontiguousarray(mirrored)).logits
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda images: images.astype(np.float32),
        lambda images: images.transpose(0, 3, 1, 2),
        lambda images: images[:, 1:],
        lambda images: images[0],
        lambda images: images[:0],
    ],
    ids=["floats", "channels first", "a row short", "one alone", "none"],
)
def test_other_arrays_than_images_are_refused(
    engine: Engine, images: np.ndarray, spoil: Callable[[np.ndarray], np.ndarray]
) -> None:
    size = engine.input_size
    with pytest.raises(ValueError, match=rf"expected uint8\[N, {size}, {size}, 3\], received"):
        engine.run(spoil(images))


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Path:
    """A copy of the shipped artifact that a test may spoil."""
    return shutil.copytree(artifact.folder, tmp_path / "artifact")


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_misses_its_golden_answers_is_refused(
    copy: Path, artifact: Artifact, kind: EngineKind
) -> None:
    with np.load(copy / GOLDEN) as golden:
        images, logits = golden["images"], golden["logits"].copy()
    logits += np.linspace(0, 0.1, 7, dtype=np.float32)  # about what bf16 does
    stream = io.BytesIO()
    np.savez(stream, images=images, logits=logits)
    (copy / GOLDEN).write_bytes(stream.getvalue())
    files = artifact.manifest.files | describe_files({GOLDEN: stream.getvalue()})
    (copy / MANIFEST).write_bytes(artifact.manifest.model_copy(update={"files": files}).to_bytes())
    spoilt = read_artifact(copy, expected_digest=None, verify_key=None)
    with pytest.raises(ArtifactRefused, match="golden probabilities"):
        load_engine(spoilt.folder, spoilt.manifest, kind)


def test_a_file_changed_after_it_was_verified_is_refused_before_it_is_parsed(
    copy: Path, artifact: Artifact
) -> None:
    (copy / OPENVINO_XML).write_bytes(b"<!DOCTYPE bomb>".ljust(artifact.manifest.files[OPENVINO_XML].bytes))
    with pytest.raises(ArtifactRefused, match=OPENVINO_XML):
        load_engine(copy, artifact.manifest, "openvino")


def test_a_closed_engine_takes_no_more_images(artifact: Artifact, images: np.ndarray) -> None:
    with closing(load_engine(artifact.folder, artifact.manifest, "openvino")) as engine:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(images)


def test_the_first_images_may_come_from_many_threads_at_once() -> None:
    """In a process of its own: only the first inference there was ever seen to hang."""
    program = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from dermabatch.artifacts import read_artifact
from dermabatch.engines.openvino_engine import OpenVinoEngine
from dermabatch.shipped import SHIPPED_MODEL

artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)
with ThreadPoolExecutor(8) as threads:
    load = lambda _: OpenVinoEngine(artifact.folder, artifact.manifest)
    engines = list(threads.map(load, range(2)))
    size = artifact.manifest.input_size
    run = lambda number: engines[number % 2].run(np.zeros((3, size, size, 3), np.uint8)).logits.shape
    assert set(threads.map(run, range(16))) == {(3, 7)}
for engine in engines:
    engine.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_auto_takes_an_engine_that_is_installed(artifact: Artifact) -> None:
    assert choose_engine() in get_args(EngineKind)


@pytest.mark.parametrize(
    ("kind", "missing", "remedy"),
    [
        ("openvino", ["openvino"], "dermabatch[openvino]"),
        ("tensorflow", ["tensorflow", "keras"], "dermabatch[tensorflow]"),
    ],
)
def test_a_missing_framework_is_named_with_its_remedy(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, kind: EngineKind, missing: list[str], remedy: str
) -> None:
    monkeypatch.delitem(sys.modules, f"dermabatch.engines.{kind}_engine", raising=False)
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError) as refusal:
        load_engine(artifact.folder, artifact.manifest, kind)
    assert remedy in str(refusal.value)


def test_nothing_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys, dermabatch.engines; assert not {'openvino', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
