"""The registry of models: publish, fetch and verify, activate, return to an earlier one, and who served when.

The bytes of a model lie in S3 under its digest; PostgreSQL says what it may do. Publishing never activates: a
person does, and not the one who published.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, lazyload

from dermabatch import accounts, audit
from dermabatch.artifacts import (
    MAX_MANIFEST_BYTES,
    SIGNATURE_BYTES,
    Artifact,
    read_artifact,
    sign_manifest,
    verify_manifest,
)
from dermabatch.audit import Action, Actor, ActorKind, Details, Event, Outcome
from dermabatch.database import Sessions
from dermabatch.errors import ArtifactRefused, Conflict, NotAllowed, NotFound, ObjectMissing
from dermabatch.gate import Gate
from dermabatch.lifecycle import MODEL_MOVES, ModelState, may_move
from dermabatch.manifest import MANIFEST, SIGNATURE, parse_manifest
from dermabatch.objects import ObjectStore
from dermabatch.schema import Activation, Model
from dermabatch.shipped import SHIPPED_MODEL

log = structlog.get_logger(__name__)

# Any number works; it must only be ours. Activations wait for each other here, so that their ids stand in the
# order in which they took effect.
_ACTIVATION_LOCK: Final = 7_261_532_913

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MIN_DIGEST_PREFIX: Final = 6


def publish(
    folder: Path,
    *,
    publisher: Actor,
    sessions: Sessions,
    store: ObjectStore,
    signing_key: bytes,
    expected_digest: str | None = None,
    gate: Gate | None = None,
) -> Model:
    """Sign an artifact, store it under its digest and register it; with a failed gate as rejected.

    Repeating changes nothing, but that a model which has never served takes the result of its newest gate.

    Args:
        folder: the artifact; see `read_artifact`.
        publisher: a user, who may not be the one to activate it.
        signing_key: the installation's Ed25519 seed, 32 bytes.
        expected_digest: the model digest, where the caller has it pinned.
        gate: how it compares with the active model; None where it was not compared.

    Raises:
        ArtifactRefused: the artifact fails a check.
        ObjectStoreUnavailable: the storage does not answer; publishing again is right.
    """
    artifact = read_artifact(folder, expected_digest=expected_digest, verify_key=None)
    with sessions.begin() as session:
        is_known = _model(session, artifact.digest) is not None
    signature = None if is_known else _upload(artifact, store, signing_key)
    with sessions.begin() as session:
        if signature is not None and _register(session, artifact, signature, publisher):
            _note(session, Action.MODEL_PUBLISHED, artifact.digest, publisher, Outcome.SUCCESS)
        if gate is not None:
            _take_verdict(session, artifact.digest, gate, publisher)
        published = _model(session, artifact.digest)
        assert published is not None  # models are never deleted
        return published


def publish_shipped(*, sessions: Sessions, store: ObjectStore, signing_key: bytes) -> Model:
    """Publish the model that the repository ships. Repeating changes nothing.

    The service principal `installer` does it, so that any person may be the one to activate.

    Raises:
        ArtifactRefused: the shipped files are not the ones that the source has pinned.
        NotFound: the installation has no installer yet, see `accounts.bootstrap`.
    """
    with sessions.begin() as session:
        installer = accounts.find_actor(session, accounts.INSTALLER, source="installer")
    return publish(
        SHIPPED_MODEL.folder,
        publisher=installer,
        sessions=sessions,
        store=store,
        signing_key=signing_key,
        expected_digest=SHIPPED_MODEL.digest,
    )


def fetch(
    digest: str, *, store: ObjectStore, cache: Path, verify_key: bytes, retired_keys: Sequence[bytes] = ()
) -> Artifact:
    """A verified copy of a published model on this machine.

    Signature and digests are checked before any parser of a model format sees a byte, in the cache as well:
    a copy that does not verify any more is reported and fetched again.

    Args:
        cache: keeps one folder per digest; each appears whole or not at all.
        verify_key: the installation's public Ed25519 key, 32 bytes; `retired_keys` are those it has replaced.

    Raises:
        ArtifactRefused: what the storage holds under this digest does not verify.
        ObjectMissing: the storage holds no such model.
        ObjectStoreUnavailable: the storage does not answer.
    """
    if not _DIGEST.fullmatch(digest):
        # It becomes a path.
        raise ArtifactRefused(f"Expected a digest of 64 hexadecimal digits. Received: {digest}")

    def verified(folder: Path) -> Artifact:
        return read_artifact(folder, expected_digest=digest, verify_key=verify_key, retired_keys=retired_keys)

    folder = cache / digest
    if folder.is_dir():
        try:
            return verified(folder)
        except ArtifactRefused as refusal:
            log.error("model_copy_refused", model=digest, reason=str(refusal), remedy="fetched again")
            shutil.rmtree(folder, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as scratch:
        download = Path(scratch) / digest
        _download(digest, store, download, verify_key, *retired_keys)
        verified(download)
        try:
            download.rename(folder)
        except OSError:
            # Another process was quicker; its copy is checked like any other.
            if not folder.is_dir():
                raise
    return verified(folder)


def activate(digest: str, *, actor: Actor, sessions: Sessions) -> Activation:
    """Let a model serve every claim from now on, and retire the one that did. One transaction.

    Raises:
        NotFound: no such model.
        NotAllowed: by a service, or by the person who published it (unless it was active before).
        Conflict: it is active already, or failed its gate. No role overrides the gate; publishing again with other
            held-out data runs it again.
    """
    return _switch(digest, Action.MODEL_ACTIVATED, actor, sessions)


def rollback(*, actor: Actor, sessions: Sessions) -> Activation:
    """Return to the model that was active before the present one. One person may do it alone.

    Raises:
        Conflict: no other model was ever active.
        NotAllowed: by a service.
    """
    with sessions.begin() as session:
        serving = active_model(session)
        query = sa.select(Activation.model_digest).order_by(Activation.id.desc()).limit(1)
        if serving is not None:
            query = query.where(Activation.model_digest != serving.digest)
        previous = session.scalar(query)
    if previous is None:
        raise Conflict("Expected a model that was active before the present one. Received: none was")
    return _switch(previous, Action.MODEL_ROLLED_BACK, actor, sessions)


def active_model(session: Session) -> Model | None:
    """The model that serves new claims; None before the first activation."""
    return session.scalar(sa.select(Model).where(Model.state == ModelState.ACTIVE))


def active_digest(session: Session) -> str | None:
    """The digest of `active_model`, for workers, who ask before every claim."""
    return session.scalar(sa.select(Model.digest).where(Model.state == ModelState.ACTIVE))


def served_at(session: Session, moment: datetime) -> Activation | None:
    """The activation in force at a moment; None before the first one.

    A chunk pins its model when it is claimed, so a result recorded just after an activation may still be the
    former model's: `Prediction.model_digest` says which.
    """
    return session.scalar(
        sa.select(Activation).where(Activation.activated_at <= moment).order_by(Activation.id.desc()).limit(1)
    )


def list_models(session: Session) -> list[Model]:
    """Every published model, newest first."""
    return list(session.scalars(sa.select(Model).order_by(Model.published_at.desc(), Model.digest)))


def list_activations(session: Session, digest: str | None = None) -> list[Activation]:
    """Who let which model serve since when, newest first; of one model if given."""
    query = sa.select(Activation).order_by(Activation.id.desc())
    if digest is not None:
        query = query.where(Activation.model_digest == digest)
    return list(session.scalars(query))


def find_model(session: Session, digest: str) -> Model:
    """The model whose digest is this, or starts with this where no other does.

    Raises:
        NotFound: none does, or several, or fewer than six characters were given.
    """
    found: Sequence[Model] = ()
    if len(digest) >= _MIN_DIGEST_PREFIX:
        query = sa.select(Model).where(Model.digest.startswith(digest.lower(), autoescape=True)).limit(2)
        found = session.scalars(query).all()
    if len(found) != 1:
        raise NotFound(
            f"Expected the digest of a model, or at least its first {_MIN_DIGEST_PREFIX} characters."
            f" Received: {digest}, which {'fits several' if found else 'fits none'}"
        )
    return found[0]


def _register(session: Session, artifact: Artifact, signature: bytes, publisher: Actor) -> bool:
    """Whether the row is ours: of two programs that publish the same artifact at once, one registers it."""
    row = {
        "digest": artifact.digest,
        "name": artifact.manifest.name,
        "state": ModelState.CANDIDATE,
        "manifest": artifact.manifest.model_dump(mode="json"),
        "signature": signature,
        "published_by": publisher.id,
    }
    inserted = session.scalar(insert(Model).values(row).on_conflict_do_nothing().returning(Model.digest))
    return inserted is not None


def _take_verdict(session: Session, digest: str, gate: Gate, publisher: Actor) -> None:
    """What has served stays as it is: a gate decides whether a model may begin to."""
    verdict = ModelState.CANDIDATE if gate.passed else ModelState.REJECTED
    session.execute(
        sa.update(Model)
        .where(Model.digest == digest, Model.state.in_((ModelState.CANDIDATE, ModelState.REJECTED)))
        .values(state=verdict, gate=gate.as_json())
    )
    outcome = Outcome.SUCCESS if gate.passed else Outcome.REFUSED
    _note(session, Action.MODEL_JUDGED, digest, publisher, outcome, gate.summary())


def _model(session: Session, digest: str) -> Model | None:
    """Without its publisher: the training job's role may not read what else is known of a user."""
    return session.get(Model, digest, options=[lazyload(Model.publisher)], populate_existing=True)


def _switch(digest: str, action: Action, actor: Actor, sessions: Sessions) -> Activation:
    try:
        with sessions.begin() as session:
            session.execute(sa.select(sa.func.pg_advisory_xact_lock(_ACTIVATION_LOCK)))
            activation = _activate_within(session, digest, actor)
            _note(session, action, digest, actor, Outcome.SUCCESS)
            return activation
    except (NotAllowed, Conflict) as refusal:
        with sessions.begin() as session:
            why = {"code": refusal.code, "why": str(refusal)}
            _note(session, action, digest, actor, Outcome.REFUSED, why)
        raise


def _activate_within(session: Session, digest: str, actor: Actor) -> Activation:
    model = session.get(Model, digest)
    if model is None:
        raise NotFound(f"There is no model {digest}")
    activated_by = _person(actor)
    if not may_move(MODEL_MOVES, old=model.state, new=ModelState.ACTIVE):
        raise Conflict(f"Expected a candidate or a retired model. Received: {digest}, which is {model.state}")
    returned = model.state is ModelState.RETIRED
    if model.published_by == activated_by and not returned:
        raise NotAllowed("Expected a second person: whoever published a model cannot activate it")
    serving = active_model(session)
    if serving is not None:
        serving.state = ModelState.RETIRED
        # First this row, then the other: at no moment are there two active ones.
        session.flush()
    model.state = ModelState.ACTIVE
    activation = Activation(
        model=model, activated_by=activated_by, published_by=model.published_by, returned=returned
    )
    session.add(activation)
    session.flush()
    session.refresh(activation)
    return activation


def _person(actor: Actor) -> UUID:
    if actor.kind is not ActorKind.PERSON or actor.id is None:
        raise NotAllowed(f"Expected a person to activate a model. Received: a {actor.kind}")
    return actor.id


def _upload(artifact: Artifact, store: ObjectStore, signing_key: bytes) -> bytes:
    manifest_bytes = artifact.manifest.to_bytes()
    signature = sign_manifest(manifest_bytes, signing_key)
    for name, file in artifact.manifest.files.items():
        store.put(_key(artifact.digest, name), artifact.read(name), sha256=file.sha256)
    store.put(_key(artifact.digest, SIGNATURE), signature)
    store.put(_key(artifact.digest, MANIFEST), manifest_bytes, sha256=artifact.digest)
    return signature


def _download(digest: str, store: ObjectStore, folder: Path, *verify_keys: bytes) -> None:
    """Exactly the files of the manifest, of exactly its lengths: whoever can write there cannot fill memory or disk."""
    stored = {info.key.removeprefix(_key(digest, "")): info.size for info in store.list(_key(digest, ""))}
    if not stored:
        raise ObjectMissing(f"The storage holds no model {digest}")

    def read(name: str, *, at_most: int) -> bytes:
        size = stored.get(name, 0)
        if not 0 < size <= at_most:
            raise ArtifactRefused(f"Expected 1 to {at_most} bytes of {name}. Received: {size}")
        return store.get_range(_key(digest, name), 0, size)

    manifest_bytes = read(MANIFEST, at_most=MAX_MANIFEST_BYTES)
    if (received := hashlib.sha256(manifest_bytes).hexdigest()) != digest:
        raise ArtifactRefused(f"Expected the model {digest}. Received: {received}")
    signature = read(SIGNATURE, at_most=SIGNATURE_BYTES)
    # Checked before it is parsed: the names in it become paths below `folder`.
    verify_manifest(manifest_bytes, signature, *verify_keys)
    files = parse_manifest(manifest_bytes).files
    if odd := stored.keys() ^ {MANIFEST, SIGNATURE, *files}:
        raise ArtifactRefused(f"Expected the files of the manifest and no other. Not so: {sorted(odd)[:5]}")
    folder.mkdir()
    (folder / MANIFEST).write_bytes(manifest_bytes)
    (folder / SIGNATURE).write_bytes(signature)
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read(name, at_most=file.bytes))


def _key(digest: str, name: str) -> str:
    return f"models/{digest}/{name}"


def _note(
    session: Session,
    action: Action,
    digest: str,
    actor: Actor,
    outcome: Outcome,
    details: Details | None = None,
) -> None:
    audit.append(
        session,
        Event(action, outcome, actor=actor, object_type="model", object_id=digest, details=details or {}),
    )
