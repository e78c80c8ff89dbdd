import os
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest

from dermabatch import ledger
from dermabatch.database import Sessions
from dermabatch.lifecycle import Queue
from dermabatch.schema import Batch, Chunk
from dermabatch.subjects import KeyRing
from tests.situations import TESTS, File, Hospital, batch_with_results, open_hospital, register_active_model


@dataclass
class LedgerAtWork:
    """A hospital whose batches wait, and a worker that may claim them."""

    web: Sessions
    worker: Sessions
    hospital: Hospital
    digest: str
    keyring: KeyRing

    def waiting_batch(self, images: int = 3, *, queue: Queue = Queue.INTERACTIVE) -> UUID:
        files = [File(f"{place}.jpg") for place in range(images)]
        batch_id = batch_with_results(
            self.web, self.worker, self.hospital, self.keyring, files, digest=self.digest
        )
        with self.web.begin(department=self.hospital.department) as session:
            session.get(Batch, batch_id).queue = queue
            session.query(Chunk).filter_by(batch_id=batch_id).update({"queue": queue})
        return batch_id

    def claim(
        self, *, allow_bulk: bool = True, lease_seconds: float = 60, unservable: Sequence[str] = ()
    ) -> ledger.Claim | None:
        with self.worker.begin() as session:
            return ledger.claim(
                session,
                worker="tests",
                model_digest=self.digest,
                allow_bulk=allow_bulk,
                lease_seconds=lease_seconds,
                unservable=unservable,
            )

    def record(self, claim: ledger.Claim, outcomes: list[ledger.Outcome]) -> None:
        with self.worker.begin() as session:
            ledger.record(
                session,
                claim,
                outcomes,
                engine="openvino",
                preprocessing_version="squash-area-1",
                derived_key="derived/tests",
                actor=TESTS,
            )

    def counts(self, batch_id: UUID) -> ledger.BatchCounts:
        with self.worker.begin() as session:
            return ledger.counts(session, batch_id)

    def chunk(self, chunk_id: UUID) -> Chunk:
        with self.worker.begin() as session:
            return session.get_one(Chunk, chunk_id)


@pytest.fixture
def at_work(database) -> LedgerAtWork:
    web, worker = database.sessions("web"), database.sessions("worker")
    hospital = open_hospital(web)
    return LedgerAtWork(web, worker, hospital, register_active_model(web, hospital), KeyRing(os.urandom(32)))
