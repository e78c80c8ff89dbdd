"""The manifest of a model artifact: everything that is said of a model besides its weights.

Whether it may be believed is the subject of `dermabatch.artifacts`.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dermabatch import clinical
from dermabatch.errors import ArtifactRefused
from dermabatch.taxonomy import CLASSES

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
WEIGHTS: Final = "weights.safetensors"
OPENVINO_XML: Final = "openvino/model.xml"
OPENVINO_BIN: Final = "openvino/model.bin"
OPENVINO_INT8_XML: Final = "openvino/model-int8.xml"
OPENVINO_INT8_BIN: Final = "openvino/model-int8.bin"
CARD: Final = "card.md"
REPORT: Final = "report.json"
REPORT_PAGE: Final = "report.html"
GOLDEN: Final = "golden.npz"
OUT_OF_DISTRIBUTION: Final = "out_of_distribution.npz"
REQUIRED_FILES: Final = frozenset(
    {WEIGHTS, OPENVINO_XML, OPENVINO_BIN, CARD, REPORT, GOLDEN, OUT_OF_DISTRIBUTION}
)
OPTIONAL_FILES: Final = frozenset({OPENVINO_INT8_XML, OPENVINO_INT8_BIN, REPORT_PAGE})

MOST_MEMBERS: Final = 16
"""Of an ensemble. Each costs the memory and the time of a network, before anybody compares it with its weights."""

MAX_FILE_BYTES: Final = 512 * 2**20
"""Files are checked in memory. The largest network in sight (EfficientNet-B7 class) has 270 MB of weights."""

LEAST_AGREEMENT: Final = 0.99
"""Share of the held-out images that keep their class where OpenVINO computes in a reduced precision."""

MAX_EVIDENCE: Final = math.log(2)
"""A field at most doubles or halves the weight of a class: what is known of a patient never outweighs the picture."""

_FILE_NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Distribution = Annotated[tuple[Fraction, ...], Field(min_length=len(CLASSES), max_length=len(CLASSES))]
Evidence = Annotated[
    tuple[Annotated[float, Field(ge=-MAX_EVIDENCE, le=MAX_EVIDENCE)], ...],
    Field(min_length=len(CLASSES), max_length=len(CLASSES)),
]
FileName = Annotated[str, Field(pattern=_FILE_NAME, max_length=200)]
"""Relative, with forward slashes; no part starts with a dot, so none is `..`."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Network(_Part):
    """Name and parameters with which `dermabatch.networks.build` makes the architecture again."""

    name: str
    parameters: dict[str, bool | int | float | str]

    @model_validator(mode="after")
    def _is_of_a_size_that_is_served(self) -> Self:
        classes, members = self.parameters.get("classes", len(CLASSES)), self.parameters.get("members", 1)
        if classes != len(CLASSES):
            raise ValueError(f"expected a network for {len(CLASSES)} classes, got {classes}")
        if not isinstance(members, int) or not 1 <= members <= MOST_MEMBERS:
            raise ValueError(f"expected at most {MOST_MEMBERS} members, got {members}")
        return self


class Prior(_Part):
    """How frequent each class is taken to be, in the order of `CLASSES`."""

    decision: Distribution
    natural: Distribution

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        for name, values in (("decision", self.decision), ("natural", self.natural)):
            if min(values) <= 0 or not math.isclose(math.fsum(values), 1, abs_tol=1e-6):
                raise ValueError(f"expected prior.{name} to be positive with sum 1, got {values}")
        return self


class Threshold(_Part):
    """A limit on a calibrated probability, and what it was chosen for."""

    value: Annotated[float, Field(gt=0, lt=1)]
    on: Literal["mel", "malignant"]
    chosen_for: Literal["sensitivity", "specificity"]
    target: Fraction
    sensitivity: Fraction
    specificity: Fraction


class Thresholds(_Part):
    """The two limits of triage: urgent looks at melanoma alone, soon at all malignant classes together."""

    urgent: Threshold
    soon: Threshold

    @model_validator(mode="after")
    def _look_at_their_own_probability(self) -> Self:
        if (self.urgent.on, self.soon.on) != ("mel", "malignant"):
            raise ValueError(
                f"expected urgent on mel and soon on malignant, got {self.urgent.on} and {self.soon.on}"
            )
        return self


class Readings(_Part):
    """The formulas of the two readings of the logits; a model that wants others must not be served with these.

    `scores` are for `prior.decision`, and the largest names the class. `probabilities` are for `prior.natural`:
    thresholds and conformal sets look at them.
    """

    scores: Literal["softmax(logits)"]
    probabilities: Literal["softmax(logits / temperature + log(prior.natural))"]


class ConformalGroup(_Part):
    """Classes whose lesions are promised the coverage by themselves, whatever becomes of the others."""

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    quantile: Fraction
    lesions: Annotated[int, Field(ge=0)]
    """How many it was chosen on: the fewer, the further a later test may lie from the promise."""


class Conformal(_Part):
    """Split conformal prediction: a class is in the set where its score is at most the quantile of its group."""

    coverage: Annotated[float, Field(gt=0, lt=1)]
    score: Literal["1-p"]
    groups: tuple[ConformalGroup, ...]

    @model_validator(mode="after")
    def _one_quantile_for_each_class(self) -> Self:
        grouped = [code for group in self.groups for code in group.classes]
        if sorted(grouped) != sorted(CLASSES):
            raise ValueError(f"expected each class in one group of conformal.groups, got {grouped}")
        return self

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantile of each class, in the order of `CLASSES`."""
        quantile_of = {code: group.quantile for group in self.groups for code in group.classes}
        return tuple(quantile_of[code] for code in CLASSES)


class OutOfDistribution(_Part):
    """Above which score of `dermabatch.out_of_distribution` a picture is taken to show no lesion as in training."""

    score: Literal["unit-residual"]
    threshold: Annotated[float, Field(ge=0)]
    kept: Annotated[float, Field(gt=0, lt=1)]
    """Share of the lesions that the threshold was chosen to keep."""
    lesions: Annotated[int, Field(gt=0)]


class Fusion(_Part):
    """What age, sex and place on the body add to the logits, in the order of `CLASSES`; see `dermabatch.fusion`."""

    evidence: dict[clinical.Field, dict[str, Evidence]]

    @model_validator(mode="after")
    def _knows_every_value(self) -> Self:
        for field, table in self.evidence.items():
            if set(table) != set(clinical.VALUES[field]):
                raise ValueError(
                    f"expected evidence for {field} of {clinical.VALUES[field]}, got {tuple(table)}"
                )
        return self


class Training(_Part):
    """What the weights were trained on, enough to do it again."""

    data: str
    data_digest: Digest
    split_digest: Digest
    images: Annotated[int, Field(gt=0)]
    epochs: Annotated[int, Field(ge=0)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    """One for each run: an ensemble comes of several."""
    seconds: Annotated[float, Field(ge=0)]


class Metrics(_Part):
    """On held-out data, never seen in training nor in choosing thresholds."""

    bma: Fraction
    bma_interval: tuple[Fraction, Fraction]
    macro_auroc: Fraction
    melanoma_auroc: Fraction
    malignant_auroc: Fraction
    ece: Fraction
    n: Annotated[int, Field(gt=0)]


class ReducedPrecision(_Part):
    """How OpenVINO answers in a reduced precision, beside its full one, on images that shaped no weight.

    Attributes:
        images: how many were asked.
        agreement: share of them whose class stays the same.
        melanomas_lost: melanomas that triage flags in full precision and not in this one.
        full_layers: how many of the first layers compute in full precision all the same.
        speed: computing time in full precision over that in this one, where the model was made.
        golden_tolerance: how far a probability of a golden image may lie from the recorded one.
    """

    images: Annotated[int, Field(gt=0)]
    agreement: Fraction
    melanomas_lost: Annotated[int, Field(ge=0)]
    full_layers: Annotated[int, Field(ge=0)]
    speed: Annotated[float, Field(gt=0)]
    golden_tolerance: Annotated[float, Field(gt=0, lt=1)]

    @property
    def passes(self) -> bool:
        """Whether it may serve."""
        return self.agreement >= LEAST_AGREEMENT and self.melanomas_lost == 0


class FileRecord(_Part):
    """Digest and length of one file of the artifact."""

    sha256: Digest
    bytes: Annotated[int, Field(gt=0, le=MAX_FILE_BYTES)]


class Manifest(_Part):
    """Everything a worker must know of a model besides its weights. `to_bytes` is its one spelling."""

    format: Literal[2]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)]
    network: Network
    classes: tuple[str, ...]
    preprocessing_version: str
    input_size: Annotated[int, Field(ge=32, le=1024)]
    prior: Prior
    readings: Readings
    temperature: Annotated[float, Field(gt=0)]
    thresholds: Thresholds
    conformal: Conformal
    out_of_distribution: OutOfDistribution
    fusion: Fusion | None = None
    training: Training
    metrics: Metrics
    precisions: dict[Literal["bf16", "int8"], ReducedPrecision] | None = None
    libraries: dict[str, str]
    created_at: AwareDatetime
    files: dict[FileName, FileRecord]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.classes != CLASSES:
            raise ValueError(f"expected the classes {CLASSES} in this order, got {self.classes}")
        built_for = self.network.parameters.get("input_size", self.input_size)
        if built_for != self.input_size:
            raise ValueError(f"expected a network for {self.input_size} px, got {built_for}")
        if missing := REQUIRED_FILES - self.files.keys():
            raise ValueError(f"expected the files {sorted(REQUIRED_FILES)}, missing {sorted(missing)}")
        int8 = (self.precisions or {}).get("int8")
        if (
            int8 is not None
            and int8.passes
            and not {OPENVINO_INT8_XML, OPENVINO_INT8_BIN} <= self.files.keys()
        ):
            raise ValueError("expected the OpenVINO files in int8, which may serve by precisions.int8")
        if unknown := self.files.keys() - REQUIRED_FILES - OPTIONAL_FILES:
            raise ValueError(f"expected no file that nobody reads, got {sorted(unknown)}")
        return self

    def to_bytes(self) -> bytes:
        """The canonical JSON: sorted keys, no spaces, nothing for parts that are None, UTF-8, no newline at the end."""
        content = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> str:
        """Identity of the model: SHA-256 of `to_bytes()`, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def parse_manifest(manifest_bytes: bytes) -> Manifest:
    """Read a manifest whose origin has been checked.

    Raises:
        ArtifactRefused: a field is missing, unknown or out of range, or the JSON is not the canonical one
            (two readers could take two meanings from doubled keys).
    """
    try:
        manifest = Manifest.model_validate_json(manifest_bytes)
    except ValidationError as error:
        raise ArtifactRefused(f"Expected a manifest of format 2. Received: {_what_came(error)}") from None
    if manifest.to_bytes() != manifest_bytes:
        raise ArtifactRefused(
            "Expected canonical JSON (see Manifest.to_bytes). Received: another spelling of it"
        )
    return manifest


def _what_came(error: ValidationError) -> str:
    """The number of another format, which says more than all that differs there; else every problem."""
    problems = error.errors(include_url=False)
    for problem in problems:
        if problem["loc"] == ("format",) and isinstance(problem["input"], int):
            return f"format {problem['input']}"
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)


def describe_files(files: Mapping[str, bytes]) -> dict[str, FileRecord]:
    """The `files` of a manifest that vouches for these contents, by relative name."""
    return {
        name: FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }
