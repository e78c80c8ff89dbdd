"""The model artifact: a folder of files, and the manifest that vouches for each of them.

Trust goes one way: a pinned digest or a signature vouches for the bytes of the manifest, the manifest for the
bytes of every other file. Until both steps are done no parser of a model format sees a byte. Artifacts hold
no code and no pickles: the architecture is built by `dermabatch.networks` from the name in the manifest.
"""

import contextlib
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dermabatch import clinical
from dermabatch.architectures import ARCHITECTURES
from dermabatch.errors import ArtifactRefused
from dermabatch.imaging.preprocess import PREPROCESSING_VERSION
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
GOLDEN: Final = "golden.npz"
OUT_OF_DISTRIBUTION: Final = "out_of_distribution.npz"
REQUIRED_FILES: Final = frozenset({WEIGHTS, OPENVINO_XML, OPENVINO_BIN, CARD, REPORT, GOLDEN})

MAX_MANIFEST_BYTES: Final = 256 * 1024
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
    """Split conformal prediction: a class is in the set where its score is at most its quantile.

    Format 1 has one quantile for all classes, format 2 one for each of the groups.
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    score: Literal["1-p"]
    quantile: Fraction | None = None
    groups: tuple[ConformalGroup, ...] | None = None

    @model_validator(mode="after")
    def _one_quantile_for_each_class(self) -> Self:
        if (self.quantile is None) == (self.groups is None):
            raise ValueError("expected either conformal.quantile or conformal.groups")
        grouped = [code for group in self.groups or () for code in group.classes]
        if self.groups is not None and sorted(grouped) != sorted(CLASSES):
            raise ValueError(f"expected each class in one group of conformal.groups, got {grouped}")
        return self

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantile of each class, in the order of `CLASSES`."""
        if self.quantile is not None:
            return (self.quantile,) * len(CLASSES)
        quantile_of = {code: group.quantile for group in self.groups or () for code in group.classes}
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
    seed: int
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

    format: Literal[1, 2]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)]
    network: Network
    classes: tuple[str, ...]
    preprocessing_version: str
    input_size: Annotated[int, Field(ge=32, le=1024)]
    prior: Prior
    readings: Readings | None = None
    temperature: Annotated[float, Field(gt=0)]
    thresholds: Thresholds
    conformal: Conformal
    out_of_distribution: OutOfDistribution | None
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
        self._check_format()
        if reserved := self.files.keys() & {MANIFEST, SIGNATURE}:
            raise ValueError(f"expected no record of {sorted(reserved)}: a manifest cannot vouch for itself")
        return self

    def _check_format(self) -> None:
        """Format 2 has all of what format 1 did not know, so that whoever knows format 1 alone refuses to serve it."""
        of_format_2 = (self.readings, self.conformal.groups, self.out_of_distribution)
        if any((part is not None) != (self.format == 2) for part in of_format_2):
            raise ValueError(
                "expected readings, conformal.groups and out_of_distribution in format 2 and none in format 1"
            )
        if (OUT_OF_DISTRIBUTION in self.files) != (self.out_of_distribution is not None):
            raise ValueError(f"expected {OUT_OF_DISTRIBUTION} exactly where out_of_distribution reads it")

    def to_bytes(self) -> bytes:
        """The canonical JSON: sorted keys, no spaces, UTF-8, no newline at the end."""
        # Parts that are not there are left out, so that an artifact of a time before them keeps its digest; but
        # format 1 spelled out that it has no out_of_distribution.
        content = {"out_of_distribution": None, **self.model_dump(mode="json", exclude_none=True)}
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> str:
        """Identity of the model: SHA-256 of `to_bytes()`, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder that passed every check of `read_artifact`."""

    folder: Path
    manifest: Manifest
    digest: str

    def read(self, name: str) -> bytes:
        """The bytes of one file, checked once more as they are read. See `read_member`."""
        return read_member(self.folder, self.manifest, name)


def read_artifact(
    folder: Path,
    *,
    expected_digest: str | None,
    verify_key: bytes | None,
    retired_keys: Sequence[bytes] = (),
) -> Artifact:
    """Check a model artifact and return what its manifest says.

    Args:
        folder: holds `manifest.json`, exactly the files that it lists and, where published, `manifest.sig`.
        expected_digest: the model digest pinned by the caller.
        verify_key: the installation's public Ed25519 key, 32 bytes; demands `manifest.sig`.
            With neither only the files are checked against the manifest: right for nothing but a folder
            that the person at the keyboard has named.
        retired_keys: public keys that `verify_key` has replaced; what they signed stays valid.

    Raises:
        ArtifactRefused: the first check that failed; says what was expected and what came.
    """
    manifest_bytes = _read_regular(folder / MANIFEST, limit=MAX_MANIFEST_BYTES)
    digest = hashlib.sha256(manifest_bytes).hexdigest()
    if expected_digest is not None and digest != expected_digest:
        raise ArtifactRefused(f"Expected the model {expected_digest}. Received: {digest} in {folder}")
    if verify_key is not None:
        signature = _read_regular(folder / SIGNATURE, limit=64)
        verify_manifest(manifest_bytes, signature, verify_key, *retired_keys)
    manifest = parse_manifest(manifest_bytes)
    if manifest.network.name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ArtifactRefused(f"Expected a network of: {known}. Received: {manifest.network.name}")
    if manifest.preprocessing_version != PREPROCESSING_VERSION:
        raise ArtifactRefused(
            f"Expected preprocessing {PREPROCESSING_VERSION}. Received: {manifest.preprocessing_version}"
        )
    _check_files(folder, manifest)
    return Artifact(folder, manifest, digest)


def parse_manifest(manifest_bytes: bytes) -> Manifest:
    """Read a manifest whose origin has been checked.

    Raises:
        ArtifactRefused: a field is missing, unknown or out of range, or the JSON is not the canonical one
            (two readers could take two meanings from doubled keys).
    """
    try:
        manifest = Manifest.model_validate_json(manifest_bytes)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ArtifactRefused(f"Expected a manifest of format 1 or 2. Received: {problems}") from None
    if manifest.to_bytes() != manifest_bytes:
        raise ArtifactRefused(
            "Expected canonical JSON (see Manifest.to_bytes). Received: another spelling of it"
        )
    return manifest


def read_member(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Read one file of an artifact for a parser, which so sees exactly the bytes that were checked.

    Raises:
        ArtifactRefused: the file is not listed, not regular, or not of the listed length and SHA-256.
    """
    record = manifest.files.get(name)
    if record is None:
        raise ArtifactRefused(f"Expected one of the files {sorted(manifest.files)}. Received: {name}")
    content = _read_regular(folder / name, limit=record.bytes)
    if len(content) != record.bytes:
        raise ArtifactRefused(f"Expected {record.bytes} bytes of {name}. Received: {len(content)}")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != record.sha256:
        raise ArtifactRefused(f"Expected SHA-256 {record.sha256} of {name}. Received: {sha256}")
    return content


def describe_files(files: Mapping[str, bytes]) -> dict[str, FileRecord]:
    """The `files` of a manifest that vouches for these contents, by relative name."""
    return {
        name: FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }


def sign_manifest(manifest_bytes: bytes, signing_key: bytes) -> bytes:
    """The content of `manifest.sig`: 64 bytes of Ed25519, made with a 32-byte seed."""
    return Ed25519PrivateKey.from_private_bytes(signing_key).sign(manifest_bytes)


def verify_manifest(manifest_bytes: bytes, signature: bytes, *verify_keys: bytes) -> None:
    """Check a signature of `sign_manifest` with 32-byte public keys, any of which may fit.

    Raises:
        ArtifactRefused: the signature is another key's, or another manifest's.
    """
    for verify_key in verify_keys:
        with contextlib.suppress(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(verify_key).verify(signature, manifest_bytes)
            return
    raise ArtifactRefused(
        "Expected a manifest signed by this installation's key. Received: a signature that does not fit"
    )


def _check_files(folder: Path, manifest: Manifest) -> None:
    present = set(_names(folder)) - {MANIFEST, SIGNATURE}
    if extra := present - manifest.files.keys():
        raise ArtifactRefused(f"Expected only the files in the manifest. Received: also {sorted(extra)}")
    for name in manifest.files:
        read_member(folder, manifest, name)


def _names(folder: Path) -> Iterator[str]:
    """Relative names of everything below `folder` that is not a folder; links are not followed."""
    for parent, folders, files in os.walk(folder):
        for name in files:
            yield (Path(parent) / name).relative_to(folder).as_posix()
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise ArtifactRefused(f"Expected folders and files. Received: the link {name}")


def _read_regular(path: Path, *, limit: int) -> bytes:
    """At most `limit` bytes of a regular file; a link, a pipe or a longer file is refused unread."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArtifactRefused(f"Expected the file {path.name}. Received: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactRefused(f"Expected {path.name} to be a regular file. Received: something else")
        if status.st_size > limit:
            raise ArtifactRefused(
                f"Expected at most {limit} bytes of {path.name}. Received: {status.st_size}"
            )
        return file.read(limit)
