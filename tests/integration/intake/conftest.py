import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from uuid import UUID

import pytest
import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.accounts import find_user
from dermabatch.audit import Actor
from dermabatch.database import Sessions
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.intake import Acceptance, Incoming, IncomingFile, Metadata, accept_upload, parse_metadata
from dermabatch.lifecycle import Queue
from dermabatch.objects import ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.schema import Batch, Image, User
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing, data_key, open_text
from tests.situations import Hospital, open_hospital, person

PACK_IMAGES = 3
"""Small packs, so that a handful of pictures fills several."""


@dataclass(frozen=True)
class Row:
    """What the department reads of one received file."""

    name: str
    state: str
    reason: str | None


@dataclass(frozen=True)
class Intake:
    """A nurse with files, and everything that takes them in."""

    web: Sessions
    worker: Sessions
    hospital: Hospital
    nurse: User
    actor: Actor
    store: ObjectStore
    keyring: KeyRing
    wake_up: WakeUp
    decoders: DecoderPool
    settings: Settings

    def upload(
        self,
        files: Iterable[Incoming],
        *,
        metadata: str | None = None,
        key: str | None = None,
        queue: Queue = Queue.INTERACTIVE,
    ) -> Acceptance:
        return accept_upload(
            files=files,
            metadata=_metadata(metadata),
            submitter=self.nurse,
            actor=self.actor,
            queue=queue,
            idempotency_key=key,
            sessions=self.web,
            store=self.store,
            keyring=self.keyring,
            wake_up=self.wake_up,
            decoders=self.decoders,
            settings=self.settings,
        )

    def images(self, batch_id: UUID) -> Sequence[Image]:
        """All rows of a batch, in order, with what they belong to."""
        with self.worker.begin() as session:
            return session.scalars(
                sa.select(Image)
                .where(Image.batch_id == batch_id)
                .order_by(Image.ordinal)
                .options(
                    sa.orm.joinedload(Image.batch),
                    sa.orm.joinedload(Image.subject),
                    sa.orm.joinedload(Image.lesion),
                )
            ).all()

    def rows(self, batch_id: UUID) -> list[Row]:
        return [
            Row(
                open_text(image.file_name_sealed, data_key(self.keyring, image), image.id),
                image.state,
                image.reason_code,
            )
            for image in self.images(batch_id)
        ]

    def batches(self) -> Sequence[Batch]:
        with self.worker.begin() as session:
            return session.scalars(sa.select(Batch).order_by(Batch.id)).all()

    def counts(self, batch_id: UUID) -> ledger.BatchCounts:
        with self.worker.begin() as session:
            return ledger.counts(session, batch_id)

    def objects(self) -> set[str]:
        return {entry.key for entry in self.store.list("packs/")}

    def with_settings(self, **changes: object) -> "Intake":
        return replace(self, settings=self.settings.model_copy(update=changes))


def _metadata(text: str | None) -> Metadata | None:
    return parse_metadata(io.BytesIO(text.encode())) if text is not None else None


def picture(seed: int) -> bytes:
    """A small lesion; another one for each seed."""
    return lesion_jpeg(seed, width=96, height=72)


def incoming(name: str, data: bytes) -> IncomingFile:
    return IncomingFile(name, io.BytesIO(data))


def pictures(count: int) -> list[IncomingFile]:
    return [incoming(f"{number}.jpg", picture(number)) for number in range(count)]


@pytest.fixture(scope="session")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(1) as pool:
        yield pool


@pytest.fixture
def settings(services, redis_url, database) -> Settings:
    names = services.environment("web", database.name)
    values = {name.removeprefix("DERMABATCH_").lower(): value for name, value in names.items()}
    return Settings(**values, pack_images=PACK_IMAGES)


@pytest.fixture
def intake(database, object_store, settings, decoders) -> Iterator[Intake]:
    web = database.sessions("web")
    hospital = open_hospital(web)
    with web.begin() as session:
        nurse = find_user(session, "nurse@hospital.example")
    with closing(WakeUp(settings)) as wake_up:
        yield Intake(
            web=web,
            worker=database.sessions("worker"),
            hospital=hospital,
            nurse=nurse,
            actor=person(nurse.id),
            store=object_store,
            keyring=KeyRing(os.urandom(32)),
            wake_up=wake_up,
            decoders=decoders,
            settings=settings,
        )
