"""Situations that many tests start from: an artifact on disk, people of a hospital, a batch with results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR, STAFF
from dermabatch.audit import Actor, ActorKind
from dermabatch.database import Sessions
from dermabatch.derived import Derived, pack_derived, seal_derived
from dermabatch.gate import Basis, Check, Compared, Difference, Figures, Gate
from dermabatch.identifiers import new_id
from dermabatch.imaging.preprocess import PREPROCESSING_VERSION
from dermabatch.lifecycle import BatchState, ChunkState, ImageState, ModelState, PackState, Queue
from dermabatch.manifest import (
    MANIFEST,
    OUT_OF_DISTRIBUTION,
    REQUIRED_FILES,
    Conformal,
    ConformalGroup,
    Manifest,
    Metrics,
    Network,
    OutOfDistribution,
    Prior,
    Readings,
    Threshold,
    Thresholds,
    Training,
    describe_files,
)
from dermabatch.objects import ObjectStore
from dermabatch.out_of_distribution import Detector
from dermabatch.schema import Activation, Batch, Chunk, Department, Image, Model, Pack, Prediction, Role, User
from dermabatch.subjects import KeyRing, batch_key, data_key, find_or_create_lesion, seal_text
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import Triage

SALT = "a salt of the tests"
PASSWORD = "correct horse battery"
TESTS = Actor(None, ActorKind.SERVICE, "tests")


def write_artifact(folder: Path, *, name: str = "tiny-1", bma: float = 0.8) -> Path:
    """An artifact of which only the detector can be parsed: right for everything that only stores and verifies it."""
    files = _contents(name)
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    (folder / MANIFEST).write_bytes(tiny_manifest(name=name, bma=bma).to_bytes())
    return folder


def tiny_manifest(*, name: str = "tiny-1", bma: float = 0.8) -> Manifest:
    """What `write_artifact` says of its files."""
    limits = {"target": 0.95, "sensitivity": 0.9, "specificity": 0.9}
    return Manifest(
        format=2,
        name=name,
        network=Network(name="efficientnet_lite0", parameters={"input_size": 224, "classes": len(CLASSES)}),
        classes=CLASSES,
        preprocessing_version=PREPROCESSING_VERSION,
        input_size=224,
        prior=Prior(decision=(1 / 7,) * 7, natural=(1 / 7,) * 7),
        readings=Readings(
            scores="softmax(logits)", probabilities="softmax(logits / temperature + log(prior.natural))"
        ),
        temperature=1.0,
        thresholds=Thresholds(
            urgent=Threshold(value=0.5, on="mel", chosen_for="specificity", **limits),
            soon=Threshold(value=0.2, on="malignant", chosen_for="sensitivity", **limits),
        ),
        conformal=Conformal(
            coverage=0.9,
            score="1-p",
            groups=(
                ConformalGroup(classes=("mel",), quantile=0.95, lesions=60),
                ConformalGroup(classes=("akiec", "bcc"), quantile=0.8, lesions=55),
                ConformalGroup(classes=("bkl", "df", "nv", "vasc"), quantile=0.4, lesions=630),
            ),
        ),
        out_of_distribution=OutOfDistribution(score="unit-residual", threshold=0.5, kept=0.99, lesions=745),
        training=Training(
            data="none",
            data_digest="0" * 64,
            split_digest="0" * 64,
            images=1,
            epochs=0,
            seeds=(1,),
            seconds=0.0,
        ),
        metrics=Metrics(
            bma=bma,
            bma_interval=(bma - 0.02, bma + 0.02),
            macro_auroc=0.95,
            melanoma_auroc=0.9,
            malignant_auroc=0.92,
            ece=0.02,
            n=1000,
        ),
        libraries={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        files=describe_files(_contents(name)),
    )


def detector() -> Detector:
    """Of embeddings of 20 numbers, which lie near a space of three dimensions."""
    random = np.random.default_rng(6)
    directions, _ = np.linalg.qr(random.normal(size=(20, 3)))
    return Detector(np.full(20, 0.2, np.float32), directions.astype(np.float32))


def gate_result(*, passed: bool, active: str = "a" * 64) -> Gate:
    """What a gate may have said of a candidate."""
    figures = Figures(
        bma=0.8,
        melanoma_sensitivity=0.7,
        melanoma_flagged=0.95,
        benign_passed=0.6,
        ece=0.03,
        nll=0.5,
        coverage=0.9,
        mean_set_size=1.3,
    )
    return Gate(
        candidate="c" * 64,
        active=active,
        side="test",
        split_digest="5" * 64,
        images=1000,
        lesions=750,
        compared={
            Basis.PICTURE_ALONE: Compared(figures, figures, Difference(0.0, -0.01 if passed else -0.03, 0.01))
        },
        checks=(Check("bma", passed, "BMA 0.800 after 0.800"),),
    )


def _contents(name: str) -> dict[str, bytes]:
    contents = {file: f"{file} of {name}".encode() for file in REQUIRED_FILES}
    return {**contents, OUT_OF_DISTRIBUTION: detector().to_bytes()}


@dataclass(frozen=True)
class Hospital:
    """Two departments; in the first a nurse and an administrator, in the second another nurse."""

    department: UUID
    nurse: UUID
    administrator: UUID
    other_department: UUID
    other_nurse: UUID
    installer: UUID


@cache
def password_hash() -> str:
    """Of `PASSWORD`. Slow on purpose, so that once must do for all tests."""
    return accounts.hash_password(PASSWORD, salt=SALT)


def open_hospital(sessions: Sessions) -> Hospital:
    """People who can sign in with `PASSWORD`, where the salt is `SALT`."""
    installer = accounts.bootstrap(sessions, source="tests")
    with sessions.begin() as session:
        here = accounts.find_department(session)
        there = accounts.create_department(session, "Plastic surgery", actor=TESTS)

        roles = {role.name: role for role in session.scalars(sa.select(Role))}

        def add(email: str, role: str, department: Department) -> UUID:
            user = User(
                email=email,
                name=email.partition("@")[0].capitalize(),
                password=password_hash(),
                department=department,
                roles=[roles[role]],
            )
            session.add(user)
            session.flush()
            return user.id

        return Hospital(
            department=here.id,
            nurse=add("nurse@hospital.example", STAFF, here),
            administrator=add("admin@hospital.example", ADMINISTRATOR, here),
            other_department=there.id,
            other_nurse=add("other@hospital.example", STAFF, there),
            installer=installer,
        )


def person(user_id: UUID) -> Actor:
    """This user, acting from a test."""
    return Actor(user_id, ActorKind.PERSON, "tests")


@dataclass(frozen=True)
class File:
    """One received file: with a triage level it was classified, without one it waits, with a reason it was rejected."""

    name: str
    triage: Triage | None = None
    malignant: float = 0.0
    lesion: str | None = None
    reason: str | None = None
    fields_used: Sequence[str] = ()


def register_active_model(sessions: Sessions, hospital: Hospital, digest: str = "ab" * 32) -> str:
    """A model that serves, without its bytes."""
    with sessions.begin() as session:
        session.add(
            Model(
                digest=digest,
                name="tiny-1",
                state=ModelState.ACTIVE,
                manifest=tiny_manifest().model_dump(mode="json"),
                signature=b"\0" * 64,
                published_by=hospital.installer,
            )
        )
        session.flush()
        session.add(
            Activation(
                model_digest=digest,
                activated_by=hospital.administrator,
                published_by=hospital.installer,
                returned=False,
            )
        )
    return digest


def batch_with_results(
    web: Sessions,
    worker: Sessions,
    hospital: Hospital,
    keyring: KeyRing,
    files: Sequence[File],
    *,
    digest: str = "ab" * 32,
) -> UUID:
    """A batch of the first department, as intake and worker would have left it. The model must be registered."""
    batch_id, pack_id, chunk_id = new_id(), new_id(), new_id()
    everything = {"department_id": hospital.department, "batch_id": batch_id}
    with web.begin(department=hospital.department) as session:
        batch = Batch(
            id=batch_id,
            department_id=hospital.department,
            submitted_by=hospital.nurse,
            queue=Queue.INTERACTIVE,
            state=BatchState.ACCEPTED,
            received=len(files),
            wrapped_key=keyring.new_wrapped_key(batch_id),
            accepted_at=datetime.now(UTC),
        )
        session.add(batch)
        session.flush()
        session.add(
            Pack(
                **everything,
                id=pack_id,
                ordinal=0,
                state=PackState.STORED,
                object_key=f"packs/{batch_id}/{pack_id}.tar",
                sha256="00" * 32,
                size_bytes=1,
                stored_at=datetime.now(UTC),
            )
        )
        session.flush()
        session.add(
            Chunk(**everything, id=chunk_id, pack_id=pack_id, queue=Queue.INTERACTIVE, state=ChunkState.READY)
        )
        session.flush()
        images = [_image(session, keyring, batch, chunk_id, place, file) for place, file in enumerate(files)]
        session.add_all(images)
    with worker.begin() as session:
        for image, file in zip(images, files, strict=True):
            if file.triage is not None:
                session.add(image)
                predict(session, image, file, digest)
    return batch_id


def store_derived(
    worker: Sessions, store: ObjectStore, keyring: KeyRing, batch_id: UUID, items: Sequence[Derived]
) -> None:
    """The derived object of a batch with results: an item for each image, in order."""
    with worker.begin() as session:
        images = session.scalars(
            sa.select(Image).where(Image.batch_id == batch_id).order_by(Image.ordinal)
        ).all()
        parts = [
            seal_derived(item, data_key(keyring, image), image.id)
            for item, image in zip(items, images, strict=True)
        ]
        key = images[0].prediction.derived_key
    store.put(key, pack_derived(parts))


def _image(session, keyring: KeyRing, batch: Batch, chunk_id: UUID, place: int, file: File) -> Image:
    image_id = new_id()
    lesion_id = file.lesion and find_or_create_lesion(
        session, keyring, department_id=batch.department_id, owner=batch, label=file.lesion
    )
    stored = file.reason is None
    pack_id = session.get(Chunk, chunk_id).pack_id
    return Image(
        id=image_id,
        department_id=batch.department_id,
        batch_id=batch.id,
        ordinal=place,
        state=ImageState.PENDING if stored else ImageState.REJECTED,
        reason_code=None if stored else "not_an_image",
        reason=file.reason,
        file_name_sealed=seal_text(file.name, batch_key(keyring, batch), image_id),
        lesion_id=lesion_id,
        sha256=f"{place:064x}",
        pack_id=pack_id if stored else None,
        chunk_id=chunk_id if stored else None,
        pack_offset=0 if stored else None,
        pack_length=1 if stored else None,
    )


def predict(session: Session, image: Image, file: File, digest: str) -> None:
    """What a worker would record of an image that it classified like this file."""
    prediction = Prediction(
        id=new_id(),
        department_id=image.department_id,
        image_id=image.id,
        chunk_id=image.chunk_id,
        model_digest=digest,
        preprocessing_version=PREPROCESSING_VERSION,
        engine="openvino",
        scores=[0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.1],
        probabilities=[0, 0, 0, 0, file.malignant, 1 - file.malignant, 0],
        predicted_class="mel" if file.malignant > 0.5 else "nv",
        malignant_probability=file.malignant,
        conformal_set=["mel", "nv"],
        triage=file.triage,
        triage_reason=f"{file.triage} because a test says so",
        quality={"flags": ["blurred"] if file.triage is Triage.CANNOT_ASSESS else []},
        fields_used=list(file.fields_used),
        derived_key=f"derived/{image.batch_id}/{image.chunk_id}-1.npz",
        derived_index=image.ordinal,
    )
    session.add(prediction)
    session.flush()
    image.prediction_id = prediction.id
    image.state = ImageState.UNASSESSABLE if file.triage is Triage.CANNOT_ASSESS else ImageState.CLASSIFIED
