"""Judged files become packs in the storage and rows in the database: first the bytes, then the rows."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
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
from dermabatch.queue import WakeUp
from dermabatch.schema import Batch, Chunk, Image, Pack
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing, seal_text

_PACK_BYTES: Final = 32 * 2**20
"""A pack of large pictures is closed early: its bytes are in memory three times while it is sealed and sent."""

_MOST_ROWS: Final = 1_000
"""Rejected files take no room in a pack, but their rows wait in memory."""

_PROMPT_SECONDS: Final = 0.1
_MAX_NAME: Final = 1_000
_MAX_REASON: Final = 500


class PackWriter:
    """Stores the judged files of one upload; while one pack is being stored the next is filled.

    Use as a context manager; leaving it waits for what is being stored.
    """

    def __init__(
        self,
        batch: Batch,
        *,
        actor: audit.Actor,
        sessions: Sessions,
        store: ObjectStore,
        keyring: KeyRing,
        wake_up: WakeUp,
        settings: Settings,
    ) -> None:
        self.stored = 0
        """Pictures whose pack is in the storage."""
        self.packs = 0
        self._batch = batch
        self._actor = actor
        self._sessions = sessions
        self._store = store
        self._owners = Owners(batch, sessions=sessions, keyring=keyring)
        self._wake_up = wake_up
        self._hints = True
        self._pack_images = settings.pack_images
        self._files: list[JudgedFile] = []
        self._pictures = 0
        self._bytes = 0
        self._background = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._storing: Future[None] | None = None

    def __enter__(self) -> "PackWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.shutdown()

    def add(self, file: JudgedFile) -> None:
        """Take one more file, in order of its ordinal.

        Raises:
            Conflict: the upload was given up meanwhile.
            ServiceUnavailable: an earlier pack could not be stored.
        """
        self._files.append(file)
        if isinstance(file.verdict, Inspected):
            self._pictures += 1
            self._bytes += len(file.verdict.stripped)
        if (
            self._pictures == self._pack_images
            or self._bytes >= _PACK_BYTES
            or len(self._files) == _MOST_ROWS
        ):
            self._close_pack()

    def finish(self) -> None:
        """Store what is left and wait for it.

        Raises:
            Conflict, ServiceUnavailable: as `add`.
        """
        if self._files:
            self._close_pack()
        self._wait()

    def _close_pack(self) -> None:
        self._wait()
        self._storing = self._background.submit(self._store_files, self._files)
        self._files, self._pictures, self._bytes = [], 0, 0

    def _wait(self) -> None:
        if self._storing is not None:
            self._storing.result()
            self._storing = None

    def _store_files(self, files: Sequence[JudgedFile]) -> None:
        self._owners.meet(file.particulars for file in files)
        owned = [(file, new_id(), self._owners.owner(file.particulars)) for file in files]
        pictures = [
            Member(str(image_id), seal(file.verdict.stripped, owner.key, image_id))
            for file, image_id, owner in owned
            if isinstance(file.verdict, Inspected)
        ]
        pack, entries = self._put_pack(pictures) if pictures else (None, {})
        with self._sessions.begin(department=self._batch.department_id) as session:
            self._touch_batch(session, received=files[-1].ordinal + 1)
            chunk_id = _finish_pack(session, pack, self._batch) if pack else None
            places = {name: (pack.id, chunk_id, entry) for name, entry in entries.items()} if pack else {}
            rows = [
                {**_row(self._batch, file, image_id, owner), **_place(places.get(str(image_id)))}
                for file, image_id, owner in owned
            ]
            session.execute(sa.insert(Image), rows)
            self._append_event(session, pack, pictures=len(pictures), rejected=len(files) - len(pictures))
        if pack:
            self.stored += len(pictures)
            self.packs += 1
            self._wake_workers()
