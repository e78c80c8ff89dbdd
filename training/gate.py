"""Measures a candidate and the active model on the same held-out images; `dermabatch.gate` judges the figures.

Both are counted on what a reader would see: the engine that a worker would take, then `dermabatch.triage.assess`. A
batch may bring age, sex and place or not, so a model that weighs them is counted both ways.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Artifact
from dermabatch.engines import installed_engines, load_engine
from dermabatch.errors import ArtifactRefused
from dermabatch.gate import Basis, Compared, Difference, Figures, Gate, golden_checks, judge
from dermabatch.imaging.quality import measure
from dermabatch.out_of_distribution import read_detector
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from dermabatch.triage import Assessment, Triage, assess
from training import metrics, weighted
from training.data import Pixels, Sample, labels_of, read_image
from training.errors import UnusableData
from training.fusion import clinical_of
from training.intervals import Bootstrap
from training.sides import check_every_class, read_sides
from training.split import Side

MELANOMA: Final = CLASSES.index("mel")
CHUNK: Final = 64
LEAST_PROBABILITY: Final = 1e-12  # so that one certain mistake does not make the mean infinite
SEED: Final = 20180707  # of the bootstrap: the same two models give the same interval again

Progress = Callable[[int, int], None]
"""Hears how many of how many pictures are answered."""


@dataclass(frozen=True, slots=True)
class HeldOutSide:
    """The images of one side of a split; `split_digest` is the SHA-256 of the split's file."""

    samples: list[Sample]
    side: Side
    split_digest: str


def read_held_out(data: Path, split: Path, side: Side) -> HeldOutSide:
    """The images of `side` by the table `split`, out of the data set in the folder `data`.

    Raises:
        UnusableData: see `read_sides`; or a class has no image on this side.
    """
    sides = read_sides(data, split)
    check_every_class(sides.samples[side], f"the {side} side of {split}")
    return HeldOutSide(sides.samples[side], side, sides.digest)


def compare(
    candidate: Artifact,
    active: Artifact,
    held_out: HeldOutSide,
    *,
    other_split: bool = False,
    progress: Progress = lambda _done, _images: None,
) -> Gate:
    """Everything that the gate asks of `candidate`, beside the model that serves.

    Args:
        candidate, active: verified.
        held_out: images that no model was trained on.
        other_split: compare even if a model was trained by another split and may know some of these images.
        progress: hears how many of all answers are there.

    Raises:
        UnusableData: a model was trained by another split, or a picture does not decode.
        ArtifactRefused: a model misses its golden answers on the very engine that is to measure it.
        ConfigurationError: no engine is installed.
    """
    foreign = _foreign_splits(candidate, active, held_out)
    if foreign and not other_split:
        raise UnusableData(
            f"{' '.join(foreign)} Give the split of both, or --other-split to compare all the same."
        )
    images = len(held_out.samples)
    ours = _seen(candidate, held_out, lambda done: progress(done, 2 * images))
    theirs = _seen(active, held_out, lambda done: progress(images + done, 2 * images))
    truth = _Truth.of(held_out.samples)
    bases: Iterable[Basis] = Basis if _weighs_more(ours) or _weighs_more(theirs) else (Basis.PICTURE_ALONE,)
    compared = {basis: _compared(ours[basis], theirs[basis], truth) for basis in bases}
    checks = judge(compared, coverage_target=candidate.manifest.conformal.coverage)
    return Gate(
        candidate=candidate.digest,
        active=active.digest,
        side=held_out.side.value,
        split_digest=held_out.split_digest,
        images=images,
        lesions=len(np.unique(truth.lesions)),
        compared=compared,
        checks=(*checks, *golden_checks(_golden_problems(candidate))),
        remarks=(*foreign, *_unjudged(candidate, compared)),
    )


def _foreign_splits(candidate: Artifact, active: Artifact, held_out: HeldOutSide) -> tuple[str, ...]:
    """What must be said where a model's own split is not this one."""
    favoured = {
        "candidate": "makes it look better than it is",
        "active model": "makes the candidate look worse",
    }
    return tuple(
        f"The {who} was trained by another split and may know some of these images, which {effect}."
        for (who, effect), artifact in zip(favoured.items(), (candidate, active), strict=True)
        if artifact.manifest.training.split_digest != held_out.split_digest
    )


def _unjudged(candidate: Artifact, compared: Mapping[Basis, Compared]) -> tuple[str, ...]:
    """What must be said where a candidate weighs more than these images bring."""
    if candidate.manifest.fusion is None or Basis.ALL_KNOWN in compared:
        return ()
    return ("What age, sex and place add to the candidate was not judged: these images bring none of them.",)


def _golden_problems(artifact: Artifact) -> dict[str, str | None]:
    """By engine that is installed here: why it cannot serve the model, or None."""
    problems: dict[str, str | None] = {}
    for kind in installed_engines():
        try:
            load_engine(artifact.folder, artifact.manifest, kind).close()  # it compares the golden answers
            problems[kind] = None
        except ArtifactRefused as refusal:
            problems[kind] = str(refusal)
    return problems


Seen = dict[Basis, list[Assessment]]
"""What a reader sees of every image."""


def _seen(artifact: Artifact, held_out: HeldOutSide, progress: Callable[[int], None]) -> Seen:
    detector = read_detector(artifact)
    seen: Seen = {basis: [] for basis in Basis}
    with closing(load_engine(artifact.folder, artifact.manifest)) as engine:
        for samples, pictures in _pictures(held_out.samples, engine.input_size):
            output = engine.run(pictures)
            read = partial(
                assess,
                output.logits,
                artifact.manifest,
                [measure(picture, engine.input_size, engine.input_size) for picture in pictures],
                strangeness=detector.strangeness(output.embedding),
            )
            seen[Basis.PICTURE_ALONE] += read()
            seen[Basis.ALL_KNOWN] += read([clinical_of(sample) for sample in samples])
            progress(len(seen[Basis.PICTURE_ALONE]))
    return seen


def _weighs_more(seen: Seen) -> bool:
    """Whether anything besides the pictures was weighed."""
    return any(assessment.fields_used for assessment in seen[Basis.ALL_KNOWN])


def _pictures(samples: Sequence[Sample], size: int) -> Iterator[tuple[Sequence[Sample], Pixels]]:
    """At most `CHUNK` samples at a time, and their pictures, uint8[n, size, size, 3]."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK]
            yield chunk, np.stack(list(pool.map(lambda sample: read_image(sample.path, size), chunk)))


@dataclass(frozen=True, slots=True)
class _Truth:
    """Of each image: class index int64[N], lesion str[N], and what it counts so that every lesion counts once."""

    labels: metrics.Labels
    lesions: npt.NDArray[np.str_]
    weights: metrics.Floats

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Self:
        lesions = np.array([sample.lesion_id for sample in samples])
        return cls(labels_of(samples), lesions, metrics.lesion_weights(lesions))


def _compared(ours: list[Assessment], theirs: list[Assessment], truth: _Truth) -> Compared:
    return Compared(_figures(ours, truth), _figures(theirs, truth), _difference(ours, theirs, truth))


def _scores(assessments: list[Assessment]) -> metrics.Floats:
    return np.array([assessment.scores for assessment in assessments])


def _difference(ours: list[Assessment], theirs: list[Assessment], truth: _Truth) -> Difference:
    """Paired: each resample of the lesions counts both models, so that what is hard for both cancels out."""
    bma_of_ours, bma_of_theirs = (
        weighted.balanced_accuracy(truth.labels, _scores(assessments)) for assessments in (ours, theirs)
    )
    bootstrap = Bootstrap(truth.labels, truth.lesions, SEED)
    figure = bootstrap.figure(lambda weights: bma_of_ours(weights) - bma_of_theirs(weights))
    return Difference(figure.value, figure.low, figure.high)


def _figures(assessments: list[Assessment], of: _Truth) -> Figures:
    truth, weights, scores = of.labels, of.weights, _scores(assessments)
    probabilities = np.array([assessment.probabilities for assessment in assessments])
    flagged = np.array([assessment.triage is not Triage.NOT_FLAGGED for assessment in assessments])
    sets = [assessment.conformal_set for assessment in assessments]
    covered = [CLASSES[label] in members for label, members in zip(truth, sets, strict=True)]
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
    melanoma, benign = truth == MELANOMA, ~np.isin(truth, MALIGNANT_INDICES)
    return Figures(
        bma=metrics.balanced_accuracy(truth, scores),
        melanoma_sensitivity=float(metrics.hits(truth, scores)[melanoma].mean()),
        melanoma_flagged=float(np.average(flagged[melanoma], weights=weights[melanoma])),
        benign_passed=float(np.average(~flagged[benign], weights=weights[benign])),
        ece=metrics.expected_calibration_error(metrics.reliability(truth, probabilities, weights)),
        nll=float(np.average(-np.log(np.maximum(own, LEAST_PROBABILITY)), weights=weights)),
        coverage=float(np.average(covered, weights=weights)),
        mean_set_size=float(np.average([len(members) for members in sets], weights=weights)),
    )
