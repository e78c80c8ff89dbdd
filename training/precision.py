"""The precision gate: may OpenVINO compute a finished model in bf16 or int8? Measured, and written into its manifest.

Integers come from post-training quantization with NNCF. Its scales are chosen on training images; what the precisions
do to the answers is counted on images that shaped no weight. docs/training.md has what came of it.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

import nncf
import numpy as np
import openvino

from dermabatch.artifacts import Artifact
from dermabatch.engines.golden import LARGEST_DIFFERENCE, golden_difference
from dermabatch.engines.openvino_engine import OpenVinoEngine
from dermabatch.manifest import (
    OPENVINO_BIN,
    OPENVINO_INT8_BIN,
    OPENVINO_INT8_XML,
    OPENVINO_XML,
    Manifest,
    ReducedPrecision,
)
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from dermabatch.triage import calibrated_probabilities
from training.artifact import rewritten
from training.data import Pixels, Sample, read_image
from training.errors import UnusableData
from training.intervals import Flags
from training.metrics import Floats, Labels
from training.sides import read_sides
from training.split import Side

Reduced = Literal["bf16", "int8"]
MELANOMA: Final = CLASSES.index("mel")
INT8_FILES: Final = (OPENVINO_INT8_XML, OPENVINO_INT8_BIN)
WEIGHTED: Final = ("Convolution", "GroupConvolution", "MatMul")

FULL_LAYERS: Final = (0, 6, 12)
"""Tried in this order. Of the 51 layers of the first model, its first six cost five points of agreement in int8 and
give a fifth of the speed."""
QUANTIZATION_IMAGES: Final = 300  # NNCF's default; the scales are ranges, which more images hardly widen
TIMED_IMAGES: Final = 32
TIMED_ROUNDS: Final = 9  # interleaved, so that a busy moment of the machine meets every precision
OTHER_PROCESSORS: Final = 3.0  # times the golden difference measured here: other instructions round otherwise
MOST_TOLERANCE: Final = 0.999
AT_ONCE: Final = 64
SEED: Final = 20180707


@dataclass(frozen=True, slots=True)
class PrecisionImages:
    """What the gate needs to see, preprocessed: uint8[N, S, S, 3].

    Attributes:
        training: of the training side, for the scales of the integers.
        held_out: of sides that shaped no weight.
        truth: class indices of `held_out`, int64[N].
    """

    training: Pixels
    held_out: Pixels
    truth: Labels


def read_precision_images(data: Path, split: Path, size: int) -> PrecisionImages:
    """Images of the data set in the folder `data`: training ones by chance, and all of validation and calibration.

    The test side stays untouched: what is chosen by an image is no longer held out from it.

    Raises:
        UnusableData: see `read_sides`; or a picture does not decode, or a side is empty.
    """
    sides = read_sides(data, split)
    training = sides.samples[Side.TRAIN]
    held_out = [*sides.samples[Side.VALIDATION], *sides.samples[Side.CALIBRATION]]
    if not training or not held_out:
        raise UnusableData(
            f"Expected training, validation and calibration images in {split}. Received: none."
        )
    chosen = np.random.default_rng(SEED).permutation(len(training))[:QUANTIZATION_IMAGES]
    return PrecisionImages(
        training=_read([training[position] for position in chosen], size),
        held_out=_read(held_out, size),
        truth=np.array([sample.label for sample in held_out], np.int64),
    )


def _read(samples: Sequence[Sample], size: int) -> Pixels:
    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(lambda sample: read_image(sample.path, size), samples)))


def with_precisions(artifact: Artifact, images: PrecisionImages, progress: Callable[[str], None]) -> Artifact:
    """Measure the reduced precisions of an unpublished artifact and write it anew, with what came of it.

    In int8 as few of the first layers as possible stay in full precision, none if that passes. The manifest, and so
    the digest, is another one afterwards; the files in int8 are in it only if they may serve.

    Args:
        artifact: without a signature; its folder is replaced in one step.
        images: to measure on.
        progress: hears each step as it begins.
    """
    best: ReducedPrecision | None = None
    with (
        tempfile.TemporaryDirectory(dir=artifact.folder.parent, prefix=".precision-") as scratch,
        closing(OpenVinoEngine(artifact.folder, artifact.manifest)) as engine,
    ):
        progress("full precision")
        full = _Full(engine, _logits(engine, images.held_out))
        progress("bf16")
        bf16 = measure_precision(artifact, "bf16", full, images)
        for full_layers in _worth_trying(artifact):
            progress(f"int8, the first {full_layers} layers in full precision")
            int8 = quantized(artifact, images.training, full_layers)
            trial = _with_int8(artifact, int8, Path(scratch) / "trial", precisions=None)
            found = measure_precision(trial, "int8", full, images, full_layers)
            if best is None or found.passes or found.agreement > best.agreement:
                best = found
            if found.passes:
                break
    assert best is not None
    precisions = {"bf16": bf16, "int8": best}
    return _with_int8(artifact, int8 if best.passes else {}, artifact.folder, precisions=precisions)


def _with_int8(artifact: Artifact, int8: Mapping[str, bytes], folder: Path, **fields: Any) -> Artifact:
    return rewritten(artifact, folder, int8, without=INT8_FILES, **fields)


def _worth_trying(artifact: Artifact) -> list[int]:
    return [full_layers for full_layers in FULL_LAYERS if full_layers < len(_layers(_read_model(artifact)))]


def _read_model(artifact: Artifact) -> openvino.Model:
    return openvino.Core().read_model(artifact.read(OPENVINO_XML), artifact.read(OPENVINO_BIN))


def _layers(model: openvino.Model) -> list[str]:
    """Names of what multiplies by weights, from the image on."""
    return [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in WEIGHTED]


def quantized(artifact: Artifact, images: Pixels, full_layers: int) -> dict[str, bytes]:
    """The network in int8 as OpenVINO IR, by file name of the artifact.

    Args:
        artifact: has it in full precision.
        images: uint8[N, S, S, 3]; the ranges seen in them become the scales of the integers.
        full_layers: how many of the first layers stay in full precision.
    """
    model = _read_model(artifact)
    integers = nncf.quantize(
        model,
        nncf.Dataset([np.ascontiguousarray(image)[None] for image in images]),
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=_layers(model)[:full_layers]),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(OPENVINO_INT8_XML).name
        openvino.save_model(integers, path, compress_to_fp16=False)
        return {
            OPENVINO_INT8_XML: path.read_bytes(),
            OPENVINO_INT8_BIN: path.with_suffix(".bin").read_bytes(),
        }


@dataclass(frozen=True, slots=True)
class _Full:
    """The engine in full precision, and its logits of the held-out images, float32[N, 7]."""

    engine: OpenVinoEngine
    logits: Floats


def measure_precision(
    artifact: Artifact, precision: Reduced, full: _Full, images: PrecisionImages, full_layers: int = 0
) -> ReducedPrecision:
    """One reduced precision of `artifact` beside the full one."""
    with closing(OpenVinoEngine(artifact.folder, artifact.manifest, precision)) as engine:
        logits = _logits(engine, images.held_out)
        speed = _speed(engine, full.engine, images.held_out[:TIMED_IMAGES])
        tolerance = LARGEST_DIFFERENCE + OTHER_PROCESSORS * golden_difference(engine, artifact)
    return ReducedPrecision(
        **compared(full.logits, logits, images.truth, artifact.manifest),
        full_layers=full_layers,
        speed=speed,
        golden_tolerance=min(tolerance, MOST_TOLERANCE),
    )


def compared(full: Floats, reduced: Floats, truth: Labels, manifest: Manifest) -> dict[str, Any]:
    """How the answers of one precision differ from those of the full one.

    Args:
        full, reduced: logits of the same images, float32[N, 7].
        truth: class indices, int64[N].
        manifest: has the thresholds.
    """
    melanoma = truth == MELANOMA
    lost = melanoma & _flagged(full, manifest) & ~_flagged(reduced, manifest)
    return {
        "images": len(truth),
        "agreement": float((full.argmax(axis=1) == reduced.argmax(axis=1)).mean()),
        "melanomas_lost": int(lost.sum()),
    }


def _flagged(logits: Floats, manifest: Manifest) -> Flags:
    """Where triage says urgent or soon, bool[N]."""
    probabilities = calibrated_probabilities(logits, manifest.temperature, manifest.prior.natural)
    malignant = probabilities[:, MALIGNANT_INDICES].sum(axis=1)
    is_urgent = probabilities[:, MELANOMA] >= manifest.thresholds.urgent.value
    flagged: Flags = is_urgent | (malignant >= manifest.thresholds.soon.value)
    return flagged


def _logits(engine: OpenVinoEngine, images: Pixels) -> Floats:
    starts = range(0, len(images), AT_ONCE)
    return np.concatenate([engine.run(images[start : start + AT_ONCE]).logits for start in starts])


def _speed(engine: OpenVinoEngine, full: OpenVinoEngine, images: Pixels) -> float:
    """How many times faster than `full`, by the median processor time: others on the machine cost none of it."""

    def seconds(timed: OpenVinoEngine) -> float:
        started = time.process_time()
        timed.run(images)
        return time.process_time() - started

    rounds = [(seconds(full), seconds(engine)) for _ in range(TIMED_ROUNDS)]
    return median(slow for slow, _ in rounds) / median(fast for _, fast in rounds)
