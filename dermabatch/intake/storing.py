"""One pack's way into the storage and the database: row `writing`, bytes, then all its other rows at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.database import Sessions
from dermabatch.errors import Conflict, ImageRejected
from dermabatch.identifiers import new_id
from dermabatch.imaging.inspection import Inspected
from dermabatch.intake.judging import JudgedFile
from dermabatch.intake.owners import Owner, Owners
from dermabatch.lifecycle import BatchState, ChunkState, ImageState, PackState
from dermabatch.objects import ObjectStore
from dermabatch.packs import Entry, Member, seal, write_pack
from dermabatch.schema import Batch, Chunk, Image, Pack
from dermabatch.subjects import KeyRing, seal_text

_MAX_NAME: Final = 1_000
_MAX_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class _Picture:
    """A judged file that has its identity and its owner; `verdict` may still say that there is no picture."""

    id: UUID
    file: JudgedFile
    owner: Owner


@dataclass(frozen=True, slots=True)
class _WrittenPack:
    """A pack whose bytes are in the storage."""

    id: UUID
    entries: Mapping[str, Entry]


class PackStorage:
    """Where the files of one upload go, a pack at a time."""

    def __init__(
        self,
        batch: Batch,
        *,
        actor: audit.Actor,
        sessions: Sessions,
        store: ObjectStore,
        keyring: KeyRing,
        wanted_model: str | None = None,
    ) -> None:
        self._batch = batch
        self._actor = actor
        self._sessions = sessions
        self._store = store
        self._owners = Owners(batch, sessions=sessions, keyring=keyring)
        self._wanted_model = wanted_model
        self._packs = 0

    def store(self, files: Sequence[JudgedFile]) -> bool:
        """Store the pictures among these files as one pack, and give every file its row.

        Either all of the rows appear, with the bytes behind them, or none does.

        Args:
            files: one after the other as they came, at least one.

        Returns:
            Whether there was any picture, and so a pack and a chunk.

        Raises:
            Conflict: the upload was given up meanwhile.
            ServiceUnavailable: the storage does not take the pack.
        """
        self._owners.meet(file.particulars for file in files)
        pictures = [_Picture(new_id(), file, self._owners.owner(file.particulars)) for file in files]
        members = [
            Member(str(picture.id), seal(verdict.stripped, picture.owner.key, picture.id))
            for picture in pictures
            if isinstance(verdict := picture.file.verdict, Inspected)
        ]
        pack = self._put(members, received=files[0].ordinal) if members else None
        with self._sessions.begin(department=self._batch.department_id) as session:
            touch(session, self._batch.id, received=files[-1].ordinal + 1)
            chunk_id = self._finish(session, pack) if pack else None
            rows = [self._row(picture, pack, chunk_id) for picture in pictures]
            session.execute(sa.insert(Image), rows)
            if pack:
                self._append_event(session, pack, pictures=len(members), rejected=len(files) - len(members))
        return pack is not None

    def _put(self, members: Sequence[Member], *, received: int) -> _WrittenPack:
        pack_id = new_id()
        written = write_pack(members)
        key = f"packs/{self._batch.id}/{pack_id}.tar"
        with self._sessions.begin(department=self._batch.department_id) as session:
            # Locks the batch: giving it up either sees this pack, or has happened and ends the upload here.
            touch(session, self._batch.id, received=received)
            session.add(
                Pack(
                    id=pack_id,
                    department_id=self._batch.department_id,
                    batch_id=self._batch.id,
                    ordinal=self._packs,
                    state=PackState.WRITING,
                    object_key=key,
                    sha256=written.sha256,
                    size_bytes=len(written.data),
                )
            )
        self._packs += 1
        self._store.put(key, written.data, sha256=written.sha256)
        return _WrittenPack(pack_id, {entry.name: entry for entry in written.entries})

    def _finish(self, session: Session, pack: _WrittenPack) -> UUID:
        """The pack is stored; its chunk may be claimed from the commit on, before the rest of the batch is here.

        Waiting for the last pack would leave the workers idle for the length of an upload. Should the upload break
        off, what was not worked on by then is cancelled.
        """
        stored = session.scalar(
            sa.update(Pack)
            # Whoever collects orphans may have given this pack up and be deleting its bytes.
            .where(Pack.id == pack.id, Pack.state == PackState.WRITING)
            .values(state=PackState.STORED, stored_at=sa.func.clock_timestamp())
            .returning(Pack.id)
        )
        if stored is None:
            raise given_up(self._batch.id)
        chunk = Chunk(
            id=new_id(),
            department_id=self._batch.department_id,
            batch_id=self._batch.id,
            pack_id=pack.id,
            queue=self._batch.queue,
            state=ChunkState.READY,
            wanted_model=self._wanted_model,
        )
        session.add(chunk)
        session.flush()
        return chunk.id

    def _row(self, picture: _Picture, pack: _WrittenPack | None, chunk_id: UUID | None) -> dict[str, Any]:
        file, particulars = picture.file, picture.file.particulars
        return {
            "id": picture.id,
            "department_id": self._batch.department_id,
            "batch_id": self._batch.id,
            "ordinal": file.ordinal,
            "file_name_sealed": seal_text(_storable(file.name, _MAX_NAME), picture.owner.key, picture.id),
            "subject_id": picture.owner.subject_id,
            "lesion_id": picture.owner.lesion_id,
            "age": particulars.age,
            "sex": particulars.sex,
            "localization": particulars.localization,
            "sha256": file.sha256,
            **_outcome(file.verdict),
            **_place(pack, str(picture.id), chunk_id),
        }

    def _append_event(self, session: Session, pack: _WrittenPack, *, pictures: int, rejected: int) -> None:
        audit.append(
            session,
            audit.Event(
                audit.Action.PACK_STORED,
                audit.Outcome.SUCCESS,
                actor=self._actor,
                department_id=self._batch.department_id,
                object_type="pack",
                object_id=str(pack.id),
                details={"batch": str(self._batch.id), "stored": pictures, "rejected": rejected},
            ),
        )


def touch(session: Session, batch_id: UUID, *, received: int) -> None:
    """Note a sign of life of an upload and how many of its files have their rows, and lock its batch.

    Raises:
        Conflict: the upload was given up.
    """
    alive = session.scalar(
        sa.update(Batch)
        .where(Batch.id == batch_id, Batch.state == BatchState.RECEIVING)
        .values(received=received, touched_at=sa.func.clock_timestamp())
        .returning(Batch.id)
    )
    if alive is None:
        raise given_up(batch_id)


def given_up(batch_id: UUID) -> Conflict:
    """What an upload gets that was silent for too long."""
    return Conflict(
        f"Upload {batch_id} was silent for too long and was given up. Nothing of it is kept: repeat it."
    )


def _outcome(verdict: Inspected | ImageRejected) -> dict[str, Any]:
    if isinstance(verdict, ImageRejected):
        return {
            "state": ImageState.REJECTED,
            "reason_code": verdict.reason,
            "reason": _storable(str(verdict), _MAX_REASON),
            "format": None,
            "width": None,
            "height": None,
            "orientation": 1,
        }
    return {
        "state": ImageState.PENDING,
        "reason_code": None,
        "reason": None,
        "format": verdict.format,
        "width": verdict.width,
        "height": verdict.height,
        "orientation": verdict.orientation,
    }


def _place(pack: _WrittenPack | None, name: str, chunk_id: UUID | None) -> dict[str, Any]:
    entry = pack.entries.get(name) if pack else None
    if pack is None or entry is None:
        return {"pack_id": None, "pack_offset": None, "pack_length": None, "chunk_id": None}
    return {
        "pack_id": pack.id,
        "pack_offset": entry.offset,
        "pack_length": entry.length,
        "chunk_id": chunk_id,
    }


def _storable(text: str, length: int) -> str:
    """Names and reasons come from anywhere: no half characters, which have no bytes, and no NUL."""
    return text[:length].encode("utf-8", "replace").decode().replace("\0", "?")
