"""The ledger as a state machine: a plain model beside the real database, which must agree after every step.

The clock is moved, never waited for: a lease lapses because its end is set back, a pause ends because it is deleted.
"""

from collections import Counter
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import Session

from dermabatch import ledger, model_store
from dermabatch.errors import Conflict, LeaseLost
from dermabatch.lifecycle import PREDICTED_STATES, BatchState, ChunkState, ImageState, ModelState
from dermabatch.schema import Batch, Chunk, Image, Model, Prediction
from dermabatch.triage import Triage
from tests.integration.ledger.conftest import LedgerAtWork
from tests.integration.ledger.test_recording import predicted
from tests.situations import person, tiny_manifest

OUTCOMES = {
    ImageState.CLASSIFIED: lambda image, place: predicted(image, Triage.SOON, place),
    ImageState.UNASSESSABLE: lambda image, place: predicted(image, Triage.CANNOT_ASSESS, place),
    ImageState.REJECTED: lambda image, _: ledger.Refused(image, "undecodable", "It cannot be decoded."),
    ImageState.FAILED: lambda image, _: ledger.Failed(image, "decoder_died", "It stopped its process."),
}


class LedgerInAnyOrder(RuleBasedStateMachine):
    """Workers that claim, crash, lag and finish, people who cancel, retry and activate, in any order.

    Args:
        at_work: its batches of earlier runs are cancelled first.
        digests: two models; the first is active.
    """

    batches = Bundle("batches")
    claims = Bundle("claims")
    """Never used up: a former holder may do whatever a holder does, and must be refused."""

    def __init__(self, at_work: LedgerAtWork, digests: tuple[str, str]) -> None:
        super().__init__()
        self.at_work = at_work
        self.digests = digests
        self.images: dict[UUID, ImageState] = {}
        self.batch_of: dict[UUID, UUID] = {}
        self.open_batches: set[UUID] = set()
        self.holders: dict[UUID, ledger.Claim] = {}
        """Chunk to the one claim under which it may be recorded."""
        self.lapsed: set[UUID] = set()
        self.late_writes: Counter[UUID] = Counter()
        for batch_id in self._accepted():
            self._cancel(batch_id)

    @initialize(target=claims)
    def begin_with_a_claim(self) -> ledger.Claim:
        """Nothing of interest happens before the first one."""
        self.hand_in(2)
        return self.claim()

    @rule(target=batches, images=st.integers(1, 3))
    def hand_in(self, images: int) -> UUID:
        batch_id = self.at_work.waiting_batch(images)
        with self.at_work.worker.begin() as session:
            for image_id in session.scalars(sa.select(Image.id).where(Image.batch_id == batch_id)):
                self.images[image_id] = ImageState.PENDING
                self.batch_of[image_id] = batch_id
        self.open_batches.add(batch_id)
        return batch_id

    @rule(target=claims)
    def claim(self):
        claim = self.at_work.claim()
        if claim is None:
            return multiple()
        assert claim.chunk_id not in self.holders, "two workers hold one chunk"
        assert claim.model_digest == self.at_work.digest
        assert {self.images[image.id] for image in claim.images} == {ImageState.PENDING}
        self.holders[claim.chunk_id] = claim
        return claim

    @rule(claim=claims, deed=st.sampled_from(["crash", "renew", "give_back", "let_lapse", "note_stop"]))
    def hold(self, claim: ledger.Claim, deed: str) -> None:
        """One rule, because Hypothesis leaves whole rules out of a run."""
        getattr(self, f"_{deed}")(claim)

    @rule()
    def sweep(self) -> None:
        with self.at_work.worker.begin() as session:
            returned = ledger.return_lapsed(session)
            session.execute(sa.update(Chunk).where(Chunk.state == ChunkState.READY).values(not_before=None))
        assert set(returned) == {str(chunk_id) for chunk_id in self.lapsed}
        for chunk_id in list(self.lapsed):
            self._forget(chunk_id)

    @rule(target=claims, claim=claims)
    def lose_to_a_rival(self, claim: ledger.Claim) -> ledger.Claim:
        self._crash(claim)
        self.sweep()
        return self.claim()

    @rule(claim=claims, states=st.lists(st.sampled_from(list(OUTCOMES)), min_size=3, max_size=3))
    def finish(self, claim: ledger.Claim, states: list[ImageState]) -> None:
        """In time, late, or once more."""
        became = {image.id: state for image, state in zip(claim.images, states, strict=False)}
        outcomes = [OUTCOMES[state](image, place) for place, (image, state) in enumerate(became.items())]
        if self._holds(claim):
            self.at_work.record(claim, outcomes)
            self.images.update(became)
            self._forget(claim.chunk_id)
            return
        with pytest.raises(LeaseLost):
            self.at_work.record(claim, outcomes)
        with self.at_work.worker.begin() as session:
            ledger.note_late_write(session, claim)
        self.late_writes[claim.chunk_id] += 1

    @rule(batch_id=batches)
    def cancel(self, batch_id: UUID) -> None:
        if batch_id not in self.open_batches:
            with pytest.raises(Conflict):
                self._cancel(batch_id)
            return
        pending = self._images_of(batch_id, ImageState.PENDING)
        assert self._cancel(batch_id) == len(pending)
        self.images.update(dict.fromkeys(pending, ImageState.CANCELLED))
        self.open_batches.remove(batch_id)
        for claim in [claim for claim in self.holders.values() if claim.batch_id == batch_id]:
            self._forget(claim.chunk_id)

    @rule(batch_id=batches)
    def retry(self, batch_id: UUID) -> None:
        if batch_id not in self.open_batches:
            with pytest.raises(Conflict):
                self._retry(batch_id)
            return
        failed = self._images_of(batch_id, ImageState.FAILED)
        assert self._retry(batch_id) == len(failed)
        self.images.update(dict.fromkeys(failed, ImageState.PENDING))

    @rule()
    def activate_the_other_model(self) -> None:
        [other] = set(self.digests) - {self.at_work.digest}
        administrator = person(self.at_work.hospital.administrator)
        model_store.activate(other, actor=administrator, sessions=self.at_work.web)
        self.at_work.digest = other

    @invariant()
    def the_database_agrees(self) -> None:
        with self.at_work.worker.begin() as session:
            self._every_image_is_where_it_should_be_with_one_prediction_or_none(session)
            self._exactly_the_held_chunks_run_under_the_model_of_their_claim(session)
            self._every_late_write_is_counted(session)
            conservation = ledger.conservation(session)
            assert conservation.holds, conservation.line()

    def _every_image_is_where_it_should_be_with_one_prediction_or_none(self, session: Session) -> None:
        rows = session.execute(
            sa.select(Image.id, Image.state, sa.func.count(Prediction.id))
            .outerjoin(Prediction, Prediction.image_id == Image.id)
            .where(Image.id.in_(self.images))
            .group_by(Image.id)
        )
        assert {image_id: (state, count) for image_id, state, count in rows} == {
            image_id: (state, int(state in PREDICTED_STATES)) for image_id, state in self.images.items()
        }

    def _exactly_the_held_chunks_run_under_the_model_of_their_claim(self, session: Session) -> None:
        running = session.execute(
            sa.select(Chunk.id, Chunk.lease_no, Chunk.model_digest).where(Chunk.state == ChunkState.RUNNING)
        )
        held = {(claim.chunk_id, claim.lease_no, claim.model_digest) for claim in self.holders.values()}
        assert set(map(tuple, running)) == held

    def _every_late_write_is_counted(self, session: Session) -> None:
        counted = session.execute(
            sa.select(Chunk.id, Chunk.late_writes).where(
                Chunk.late_writes > 0, Chunk.batch_id.in_(set(self.batch_of.values()))
            )
        )
        assert dict(map(tuple, counted)) == self.late_writes

    def _crash(self, claim: ledger.Claim) -> None:
        """Its holder says nothing more, and its time runs out."""
        with self.at_work.worker.begin() as session:
            session.execute(
                sa.update(Chunk)
                .where(Chunk.id == claim.chunk_id, Chunk.lease_no == claim.lease_no)
                .where(Chunk.state == ChunkState.RUNNING)
                .values(lease_until=sa.func.clock_timestamp() - sa.text("interval '1 second'"))
            )
        if self._holds(claim):
            self.lapsed.add(claim.chunk_id)

    def _renew(self, claim: ledger.Claim) -> None:
        with self.at_work.worker.begin() as session:
            assert ledger.renew(session, claim, lease_seconds=60) == self._holds(claim)
        if self._holds(claim):
            self.lapsed.discard(claim.chunk_id)

    def _give_back(self, claim: ledger.Claim) -> None:
        with self.at_work.worker.begin() as session:
            assert ledger.release(session, claim) == self._holds(claim)
        if self._holds(claim):
            self._forget(claim.chunk_id)

    def _let_lapse(self, claim: ledger.Claim) -> None:
        with self.at_work.worker.begin() as session:
            assert ledger.let_lapse(session, claim) == self._holds(claim)
        if self._holds(claim):
            self.lapsed.add(claim.chunk_id)

    def _note_stop(self, claim: ledger.Claim) -> None:
        image = claim.images[0]
        if self._holds(claim):
            with self.at_work.worker.begin() as session:
                assert 1 <= ledger.note_stop(session, claim, image.id) <= ledger.MAX_STOPS
        else:
            with pytest.raises(LeaseLost), self.at_work.worker.begin() as session:
                ledger.note_stop(session, claim, image.id)

    def _holds(self, claim: ledger.Claim) -> bool:
        return self.holders.get(claim.chunk_id) == claim

    def _forget(self, chunk_id: UUID) -> None:
        self.holders.pop(chunk_id)
        self.lapsed.discard(chunk_id)

    def _images_of(self, batch_id: UUID, state: ImageState) -> list[UUID]:
        return [
            image for image, its in self.images.items() if its is state and self.batch_of[image] == batch_id
        ]

    def _accepted(self) -> list[UUID]:
        with self.at_work.worker.begin() as session:
            return list(session.scalars(sa.select(Batch.id).where(Batch.state == BatchState.ACCEPTED)))

    def _cancel(self, batch_id: UUID) -> int:
        hospital = self.at_work.hospital
        with self.at_work.web.begin(department=hospital.department) as session:
            return ledger.cancel_batch(session, batch_id, actor=person(hospital.nurse))

    def _retry(self, batch_id: UUID) -> int:
        hospital = self.at_work.hospital
        with self.at_work.web.begin(department=hospital.department) as session:
            return ledger.retry_batch(session, batch_id, actor=person(hospital.nurse))


def run_in_any_order(at_work: LedgerAtWork, *, examples: int, steps: int) -> None:
    """Try `examples` orders of at most `steps` steps each."""
    digests = (at_work.digest, _second_model(at_work))
    run_state_machine_as_test(
        lambda: LedgerInAnyOrder(at_work, digests),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            # Looking for a shorter order that fails too would take minutes on a real database.
            phases=[Phase.reuse, Phase.generate],
        ),
    )


def _second_model(at_work: LedgerAtWork) -> str:
    """A candidate that may be activated, without its bytes."""
    digest = "cd" * 32
    with at_work.web.begin() as session:
        session.add(
            Model(
                digest=digest,
                name="tiny-2",
                state=ModelState.CANDIDATE,
                manifest=tiny_manifest(name="tiny-2").model_dump(mode="json"),
                signature=b"\0" * 64,
                published_by=at_work.hospital.installer,
            )
        )
    return digest
