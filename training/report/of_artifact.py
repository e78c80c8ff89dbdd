"""Evaluates a finished artifact on images of one side, through the engine that would serve it."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from dermabatch.artifacts import Artifact
from dermabatch.engines import Engine, EngineKind, EngineOutput, load_engine
from dermabatch.imaging.quality import measure
from dermabatch.manifest import REPORT
from dermabatch.out_of_distribution import read_detector
from dermabatch.triage import Triage, assess
from training.answers import Answers
from training.calibrate import Calibration
from training.data import Pixels, Sample, load_pixels, read_samples
from training.errors import UnusableData
from training.evaluate import evaluate
from training.fusion_gain import gain_of
from training.intervals import Flags
from training.metrics import Floats
from training.report.page import render_report
from training.report.parts import about, cohorts, examples, thumbnail
from training.robustness import AT_ONCE, eight_poses, images_asked, poses_asked, quick_choice, robustness
from training.sides import read_sides
from training.split import Side

SEED: Final = 20180707  # of the bootstrap: the same model and images give the same intervals again
OF_TRAINING: Final = (
    "runs",
    "bma_on_other_sides",
    "promises",
    "metadata_fusion",
    "explanations",
)
"""Parts that only training can know; taken over from the report inside the artifact."""

Progress = Callable[[str, int, int], None]
"""Hears of which work how much of how much is done."""


class Effort(StrEnum):
    """How many images the robustness is measured on."""

    NONE = "none"
    QUICK = "quick"  # the first 25 of each class
    FULL = "full"  # all: 37 answers for each image


@dataclass(frozen=True, slots=True)
class Images:
    """The images to evaluate on.

    Attributes:
        samples: of one side, or all where there is no split.
        cohorts: every side of the split, or all samples under one name, for the table of who stands where.
        name: what they are, for people.
        side: None where there is no split, as is `split_digest`, the SHA-256 of the split's file.
    """

    samples: list[Sample]
    cohorts: dict[str, list[Sample]]
    name: str
    side: Side | None = None
    split_digest: str | None = None


def read_images(data: Path, name: str, split: Path | None, side: Side | None) -> Images:
    """The images of `side` (by default the test side) by the table `split`, or all images in the folder `data`.

    Raises:
        UnusableData: see `read_samples`; or the split is none, or names images that are not there, or a side is
            asked for without a split.
    """
    if split is None:
        if side is not None:
            raise UnusableData(f"Expected --split beside --side {side}. Received: no split.")
        samples = read_samples(data)
        return Images(samples, {"all": samples}, name)
    side, sides = side or Side.TEST, read_sides(data, split)
    divided = {one.value: samples for one, samples in sides.samples.items() if samples}
    return Images(sides.samples[side], divided, name, side, sides.digest)


@dataclass(frozen=True, slots=True)
class How:
    """How much work to spend on a report, and what may be in it."""

    effort: Effort = Effort.QUICK
    with_examples: bool = False  # pictures of patients' lesions
    engine: EngineKind = "openvino"


@dataclass(frozen=True, slots=True)
class Pages:
    """A report in its two forms."""

    report: dict[str, Any]
    html: str


def report_on(artifact: Artifact, images: Images, how: How, scratch: Path, progress: Progress) -> Pages:
    """Evaluate `artifact` on `images`, for people and for machines. Raises what `report_data` raises."""
    report, pictures = report_data(artifact, images, how, scratch, progress)
    return Pages(report, render_report(report, pictures))


def report_data(
    artifact: Artifact, images: Images, how: How, scratch: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Evaluate `artifact` on `images`; decoded they lie in the folder `scratch` for a while.

    Returns:
        The report, and JPEGs by image id of the examples in it.

    Raises:
        UnusableData: an image does not decode, or a class has no image.
        ConfigurationError: the engine is not installed.
    """
    calibration = _calibration(artifact)
    with (
        TemporaryDirectory(dir=scratch, prefix=".decoded-") as cache,
        closing(load_engine(artifact.folder, artifact.manifest, how.engine)) as engine,
    ):
        pixels = load_pixels(
            images.samples,
            engine.input_size,
            Path(cache),
            lambda done: progress("decoding", done, len(images.samples)),
        )
        model = _Model(artifact, engine)
        answers, abstained = _answers(model, images.samples, pixels, progress)
        report = {
            "about": _about(artifact, images, engine.name),
            "cohorts": cohorts(images.cohorts),
            **evaluate(answers, calibration, SEED, abstained),
            **_stress(model, answers, pixels, calibration, how.effort, progress),
            **_parts_of_training(artifact),
            **_metadata_fusion(artifact, answers, calibration),
        }
        if not how.with_examples:
            return report, {}
        report["examples"] = examples(answers, calibration, SEED)
        return report, _thumbnails(report["examples"], images.samples, pixels)


def _thumbnails(wanted: list[dict[str, Any]], samples: list[Sample], pixels: Pixels) -> dict[str, bytes]:
    at = {sample.image_id: position for position, sample in enumerate(samples)}
    return {example["image_id"]: thumbnail(pixels[at[example["image_id"]]]) for example in wanted}


def _calibration(artifact: Artifact) -> Calibration:
    manifest = artifact.manifest
    return Calibration(manifest.prior.natural, manifest.temperature, manifest.conformal, manifest.thresholds)


class _Model:
    """An artifact in its engine, asked the way a worker asks it."""

    def __init__(self, artifact: Artifact, engine: Engine) -> None:
        self._manifest, self._engine, self._detector = artifact.manifest, engine, read_detector(artifact)

    def ask(self, images: Pixels) -> tuple[EngineOutput, Flags]:
        """The output for uint8[N, S, S, 3], and where a reader would see `cannot assess`, bool[N]."""
        output = self._engine.run(np.ascontiguousarray(images))
        assessments = assess(
            output.logits,
            self._manifest,
            [measure(image, *image.shape[:2]) for image in images],
            strangeness=self._detector.strangeness(output.embedding),
        )
        return output, np.array([assessment.triage is Triage.CANNOT_ASSESS for assessment in assessments])

    def ask_for_logits(self, images: Pixels) -> tuple[Floats, Flags]:
        """The same without embedding and maps; see `training.robustness.Ask`."""
        output, abstained = self.ask(images)
        return output.logits, abstained


def _answers(
    model: _Model, samples: list[Sample], pixels: Pixels, progress: Progress
) -> tuple[Answers, Flags]:
    outputs, abstained = [], []
    for start in range(0, len(pixels), AT_ONCE):
        output, cannot_assess = model.ask(pixels[start : start + AT_ONCE])
        outputs.append(output)
        abstained.append(cannot_assess)
        progress("classifying", start + len(cannot_assess), len(pixels))
    joined = EngineOutput.joined(outputs)
    return Answers(samples, joined.logits, joined.embedding), np.concatenate(abstained)


def _stress(
    model: _Model,
    answers: Answers,
    pixels: Pixels,
    calibration: Calibration,
    effort: Effort,
    progress: Progress,
) -> dict[str, Any]:
    if effort is Effort.NONE:
        return {}
    chosen = np.arange(len(pixels)) if effort is Effort.FULL else quick_choice(answers)

    return {
        "poses": eight_poses(
            answers,
            pixels,
            model.ask_for_logits,
            calibration,
            SEED,
            _counted("eight poses", poses_asked(len(pixels)), progress),
        ),
        "robustness": robustness(
            answers.at(chosen),
            pixels[chosen],
            model.ask_for_logits,
            SEED,
            _counted("damaged pictures", images_asked(len(chosen)), progress),
        ),
    }


def _counted(work: str, total: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        progress(work, done, total)

    return count


def _about(artifact: Artifact, images: Images, engine: str) -> dict[str, Any]:
    manifest = artifact.manifest
    return about(
        model=manifest.name,
        digest=artifact.digest,
        network=manifest.network,
        training=manifest.training,
        calibration=_calibration(artifact),
        engine=engine,
        data=images.name,
        side=images.side,
        split_digest=images.split_digest,
        seed=SEED,
    )


def _metadata_fusion(artifact: Artifact, answers: Answers, calibration: Calibration) -> dict[str, Any]:
    """What age, sex and place add on these images, in place of the figures that training measured on its own."""
    fusion = artifact.manifest.fusion
    if fusion is None:
        return {}
    own = _parts_of_training(artifact).get("metadata_fusion", {})
    return {"metadata_fusion": {**own, **gain_of(fusion, answers, calibration, SEED), "shipped": True}}


def _parts_of_training(artifact: Artifact) -> dict[str, Any]:
    own = json.loads(artifact.read(REPORT))
    return {part: own[part] for part in OF_TRAINING if part in own}
