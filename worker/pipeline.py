"""One chunk, from its claim to its record. No transaction is open while images are fetched, decoded and classified."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Event
from uuid import UUID

import structlog

from dermabatch import ledger
from dermabatch.audit import Actor
from dermabatch.database import Sessions
from dermabatch.derived import pack_derived, seal_derived
from dermabatch.errors import DecoderDied, LeaseLost, PackDamaged, ServiceUnavailable
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.lifecycle import Queue
from dermabatch.objects import ObjectStore
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from worker.assessment import Finding, classify
from worker.bulk_slots import BulkSlots
from worker.leases import LeaseKeeper
from worker.opening import Picture, image_key, open_pictures
from worker.quarantine import Quarantine
from worker.serving import ServedModel, Serving

log = structlog.get_logger(__name__)

_PAUSE_AFTER_TROUBLE_SECONDS = 5
_PRIORITY = {Queue.INTERACTIVE: 0, Queue.BULK: 1}

Answer = Finding | ledger.Refused | ledger.Failed


class Pipeline:
    """Does the work of one worker process; several threads call it at once.

    Args:
        stopping: set when the process is told to stop; slow work is then given back instead of finished.
        name: of the process, for people who look at its claims.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        sessions: Sessions,
        store: ObjectStore,
        keyring: KeyRing,
        serving: Serving,
        decoders: DecoderPool,
        leases: LeaseKeeper,
        stopping: Event,
        actor: Actor,
        name: str,
    ) -> None:
        self._lease_seconds = settings.lease_seconds
        self._sessions = sessions
        self._store = store
        self._keyring = keyring
        self._serving = serving
        self._decoders = decoders
        self._leases = leases
        self._stopping = stopping
        self._actor = actor
        self._name = name
        self._bulk = BulkSlots(settings.worker_slots)

    def claim_and_classify(self) -> bool:
        """Work on the best chunk that waits; False where none does.

        Raises:
            ServiceUnavailable: storage or database failed; the chunk was given back or will lapse.
        """
        with self._serving.current() as model, self._bulk.reserved() as bulk:
            claim = self._claim(model, allow_bulk=bulk.free)
            if claim is None:
                return False
            if claim.queue is not Queue.BULK:
                bulk.give_back()
            with (
                self._leases.keep(claim),
                structlog.contextvars.bound_contextvars(batch=str(claim.batch_id), chunk=str(claim.chunk_id)),
            ):
                self._work_on(claim, model)
        return True

    def _claim(self, model: ServedModel, *, allow_bulk: bool) -> ledger.Claim | None:
        with self._sessions.begin() as session:
            return ledger.claim(
                session,
                worker=self._name,
                model_digest=model.digest,
                allow_bulk=allow_bulk,
                lease_seconds=self._lease_seconds,
                unservable=self._serving.unservable(),
            )

    def _work_on(self, claim: ledger.Claim, active: ServedModel) -> None:
        """Whatever happens, the chunk is recorded, given back, or left to lapse: it is never just dropped."""
        try:
            with self._model_for(claim, active) as model:
                pictures, erased = open_pictures(claim, store=self._store, keyring=self._keyring)
                self._record(claim, model, erased | self._classify(claim, pictures, model))
        except LeaseLost:
            self._withdraw(claim)
        except ServiceUnavailable:
            self._give_back(claim)
            raise
        except PackDamaged as damage:
            log.error("pack_damaged", error=str(damage), remedy="restore it from a backup; it is tried again")
            self._let_lapse(claim)
        except Exception:
            self._let_lapse(claim)
            raise

    def _model_for(self, claim: ledger.Claim, active: ServedModel) -> AbstractContextManager[ServedModel]:
        # The active one is in our hands, also if another slot has meanwhile switched to its successor.
        if claim.model_digest == active.digest:
            return nullcontext(active)
        return self._serving.wanted(claim.model_digest)

    def _classify(
        self, claim: ledger.Claim, pictures: Sequence[Picture], model: ServedModel
    ) -> dict[UUID, Answer]:
        """All pictures at once; those that kill a decoder, and all of a chunk that lapsed, one by one in quarantine."""
        if claim.isolated:
            return self._quarantine(claim, pictures, model)
        answers: dict[UUID, Answer] = {}
        for image_id, answer in classify(
            pictures, model, self._decoders, priority=_PRIORITY[claim.queue]
        ).items():
            if isinstance(answer, DecoderDied):
                # Perhaps somebody stopped the whole worker: only a death in quarantine counts against the image.
                log.warning("decoder_died", image=str(image_id), error=str(answer))
            else:
                answers[image_id] = answer
        suspects = [picture for picture in pictures if picture.image_id not in answers]
        return answers | self._quarantine(claim, suspects, model)

    def _quarantine(
        self, claim: ledger.Claim, suspects: Sequence[Picture], model: ServedModel
    ) -> dict[UUID, Answer]:
        answers: dict[UUID, Answer] = {}
        with Quarantine(model, on_stop=lambda image_id: self._note_stop(claim, image_id)) as quarantine:
            for picture in suspects:
                if self._stopping.is_set():
                    raise ServiceUnavailable("This worker was told to stop.")
                answers[picture.image_id] = quarantine.examine(picture)
                self._leases.note_progress(claim)
        return answers

    def _note_stop(self, claim: ledger.Claim, image_id: UUID) -> int:
        with self._sessions.begin() as session:
            stops = ledger.note_stop(session, claim, image_id)
        log.error("image_stopped_its_process", image=str(image_id), stops=stops)
        return stops

    def _record(self, claim: ledger.Claim, model: ServedModel, answers: Mapping[UUID, Answer]) -> None:
        """Store thumbnails and saliency grids, and then the rows that name them."""
        outcomes: list[ledger.Outcome] = []
        derived: list[bytes] = []
        for image in claim.images:
            answer = answers[image.id]
            if isinstance(answer, Finding):
                outcomes.append(ledger.Predicted(image.id, answer.assessment, answer.quality, len(derived)))
                derived.append(seal_derived(answer.derived, image_key(image, self._keyring), image.id))
            else:
                outcomes.append(answer)
        self._put_derived(claim, derived)
        with self._sessions.begin() as session:
            ledger.record(
                session,
                claim,
                outcomes,
                engine=model.engine.name,
                preprocessing_version=model.artifact.manifest.preprocessing_version,
                derived_key=_derived_key(claim, claim.lease_no),
                actor=self._actor,
            )

    def _put_derived(self, claim: ledger.Claim, parts: Sequence[bytes]) -> None:
        if claim.lease_no > 1:
            # A former holder that was killed may have left its own. The objects of later holders are not ours.
            stored = {info.key for info in self._store.list(_derived_key(claim, ""))}
            for key in stored & {_derived_key(claim, lease_no) for lease_no in range(1, claim.lease_no)}:
                self._store.delete(key)
        if parts:
            self._store.put(_derived_key(claim, claim.lease_no), pack_derived(parts))

    def _withdraw(self, claim: ledger.Claim) -> None:
        """The chunk was cancelled or is another worker's by now: leave no trace but the count."""
        log.warning("late_write_refused", lease_no=claim.lease_no)
        with self._sessions.begin() as session:
            ledger.note_late_write(session, claim)
        self._store.delete(_derived_key(claim, claim.lease_no))

    def _give_back(self, claim: ledger.Claim) -> None:
        """Not the chunk's fault: anybody may have it in a moment."""
        try:
            with self._sessions.begin() as session:
                ledger.release(session, claim, after_seconds=_PAUSE_AFTER_TROUBLE_SECONDS)
        except ServiceUnavailable as error:
            log.warning("chunk_not_given_back", error=str(error), remedy="its lease lapses by itself")

    def _let_lapse(self, claim: ledger.Claim) -> None:
        """Perhaps the chunk's fault: the sweeper returns it in quarantine, later each time, and raises an alarm."""
        try:
            with self._sessions.begin() as session:
                ledger.let_lapse(session, claim)
        except ServiceUnavailable as error:
            log.warning("chunk_not_given_back", error=str(error), remedy="its lease lapses by itself")


def _derived_key(claim: ledger.Claim, lease_no: int | str) -> str:
    return f"derived/{claim.batch_id}/{claim.chunk_id}-{lease_no}"
