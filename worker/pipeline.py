"""One chunk, from its claim to its record. No transaction is open while images are fetched, decoded and classified."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from uuid import UUID

import structlog
from sqlalchemy.exc import OperationalError

from dermabatch import ledger
from dermabatch.audit import Actor
from dermabatch.database import Sessions
from dermabatch.derived import Derived, pack_derived
from dermabatch.errors import (
    DecoderDied,
    ErasedSubject,
    ImageRejected,
    LeaseLost,
    ObjectMissing,
    SealBroken,
    ServiceUnavailable,
)
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.lifecycle import Queue
from dermabatch.objects import ObjectStore
from dermabatch.packs import open_sealed
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from worker.assessment import Finding, assess_images
from worker.leases import LeaseKeeper
from worker.quarantine import Quarantine
from worker.serving import ServedModel, Serving

log = structlog.get_logger(__name__)

_PAUSE_AFTER_TROUBLE_SECONDS = 5
_PRIORITY = {Queue.INTERACTIVE: 0, Queue.BULK: 1}


@dataclass(frozen=True, slots=True)
class Opened:
    """One image of a chunk with its key applied: the picture as intake stored it."""

    image: ledger.ClaimedImage
    data: bytes


Seen = Opened | ledger.Refused


class Pipeline:
    """Does the work of one worker process; several threads call it at once."""

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
        actor: Actor,
        name: str,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._store = store
        self._keyring = keyring
        self._serving = serving
        self._decoders = decoders
        self._leases = leases
        self._actor = actor
        self._name = name
        self._bulk = BulkSlots(max(1, settings.worker_slots - 1))

    def warm_up(self) -> None:
        """Load the model before the first claim; without an active one there is nothing to load yet."""
        try:
            with self._serving.current():
                pass
        except ServiceUnavailable as error:
            log.warning("no_model_yet", error=str(error))

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
                lease_seconds=self._settings.lease_seconds,
            )

    def _work_on(self, claim: ledger.Claim, model: ServedModel) -> None:
        try:
            outcomes, derived_key = self._classify(claim, model)
            with self._sessions.begin() as session:
                ledger.record(
                    session,
                    claim,
                    outcomes,
                    engine=model.engine.name,
                    preprocessing_version=model.artifact.manifest.preprocessing_version,
                    derived_key=derived_key,
                    actor=self._actor,
                )
        except LeaseLost:
            log.warning("late_write_refused", lease_no=claim.lease_no)
            with self._sessions.begin() as session:
                ledger.note_late_write(session, claim)
        except (ServiceUnavailable, OperationalError) as error:
            self._give_back(claim)
            raise ServiceUnavailable(str(error)) from error

    def _give_back(self, claim: ledger.Claim) -> None:
        try:
            with self._sessions.begin() as session:
                ledger.release(session, claim, after_seconds=_PAUSE_AFTER_TROUBLE_SECONDS)
        except OperationalError:
            log.warning("chunk_not_given_back", remedy="its lease lapses by itself")

    def _classify(self, claim: ledger.Claim, model: ServedModel) -> tuple[list[ledger.Outcome], str]:
        seen = self._open(claim)
        findings: dict[UUID, Finding | ledger.Refused | ledger.Failed] = {
            refused.image_id: refused for refused in seen if isinstance(refused, ledger.Refused)
        }
        opened = [picture for picture in seen if isinstance(picture, Opened)]
        suspects = opened if claim.isolated else self._run(claim, opened, model, findings)
        if suspects:
            findings.update(self._quarantine(claim, suspects, model))
        return self._with_derived(claim, findings)

    def _open(self, claim: ledger.Claim) -> list[Seen]:
        """Fetch the pack and decrypt its images. One GET a chunk, or ranges where only a few images are left."""
        try:
            pack = self._store.get(claim.object_key)
        except ObjectMissing as error:
            raise ServiceUnavailable(f"The bytes of a stored pack are gone: {error}") from error
        if hashlib.sha256(pack).hexdigest() != claim.pack_sha256:
            raise ServiceUnavailable(
                f"Pack {claim.object_key} does not have the checksum it was stored with."
            )
        return [self._open_one(image, pack) for image in claim.images]

    def _open_one(self, image: ledger.ClaimedImage, pack: bytes) -> Seen:
        try:
            if image.wrapped_key is None:
                raise ErasedSubject("The patient was erased; this image can no longer be read by anyone.")
            key = self._keyring.unwrap(image.wrapped_key, image.key_owner)
            sealed = pack[image.offset : image.offset + image.length]
            return Opened(image, open_sealed(sealed, key, image.id))
        except (ErasedSubject, SealBroken) as error:
            return ledger.Refused(image.id, error.code, str(error))

    def _run(
        self,
        claim: ledger.Claim,
        opened: Sequence[Opened],
        model: ServedModel,
        findings: dict[UUID, Finding | ledger.Refused | ledger.Failed],
    ) -> list[Opened]:
        """Decode and classify all images at once; returns those whose decoder died over them."""
        pictures = [(picture.data, picture.image.orientation) for picture in opened]
        answers = self._decoders.decode(pictures, model.engine.input_size) if pictures else []
        decoded: list[tuple[UUID, Decoded]] = []
        suspects = []
        for picture, answer in zip(opened, answers, strict=True):
            match answer:
                case ImageRejected():
                    findings[picture.image.id] = ledger.Refused(picture.image.id, answer.reason, str(answer))
                case DecoderDied():
                    suspects.append(picture)
                case _:
                    decoded.append((picture.image.id, answer))
        findings.update(assess_images(decoded, model, priority=_PRIORITY[claim.queue]))
        for picture in suspects:
            self._note_stop(claim, picture.image.id)
        return suspects

    def _quarantine(
        self, claim: ledger.Claim, suspects: Sequence[Opened], model: ServedModel
    ) -> dict[UUID, Finding | ledger.Refused | ledger.Failed]:
        with Quarantine(model, on_stop=lambda image_id: self._note_stop(claim, image_id)) as quarantine:
            return {
                picture.image.id: quarantine.examine(
                    picture.image.id, picture.data, picture.image.orientation, stops=picture.image.stops
                )
                for picture in suspects
            }

    def _note_stop(self, claim: ledger.Claim, image_id: UUID) -> int:
        with self._sessions.begin() as session:
            stops = ledger.note_stop(session, claim, image_id)
        log.error("image_stopped_its_process", image=str(image_id), stops=stops)
        return stops

    def _with_derived(
        self, claim: ledger.Claim, findings: dict[UUID, Finding | ledger.Refused | ledger.Failed]
    ) -> tuple[list[ledger.Outcome], str]:
        """Store thumbnails and saliency grids before the rows that name them."""
        key = f"derived/{claim.batch_id}/{claim.chunk_id}-{claim.lease_no}"
        outcomes: list[ledger.Outcome] = []
        derived: list[Derived] = []
        for image in claim.images:
            finding = findings[image.id]
            if isinstance(finding, Finding):
                outcomes.append(ledger.Predicted(image.id, finding.assessment, finding.quality, len(derived)))
                derived.append(finding.derived)
            else:
                outcomes.append(finding)
        if derived:
            self._store.put(key, pack_derived(derived))
        return outcomes, key


class BulkSlots:
    """Keeps one slot of the worker free for staff who wait: `bulk` may hold all others."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._lock = Lock()

    @contextmanager
    def reserved(self) -> Iterator["Reservation"]:
        """Reserve a slot for bulk work, if one is free, until the block ends or it is given back."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.give_back()

    def take(self) -> bool:
        with self._lock:
            if self._free == 0:
                return False
            self._free -= 1
            return True

    def put_back(self) -> None:
        with self._lock:
            self._free += 1


class Reservation:
    """Whether the holder may take bulk work."""

    def __init__(self, slots: BulkSlots) -> None:
        self._slots = slots
        self.free = slots.take()

    def give_back(self) -> None:
        """Not needed, or not needed any more. Safe to repeat."""
        if self.free:
            self.free = False
            self._slots.put_back()
