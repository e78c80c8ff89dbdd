"""One hospital for all tests of the trail: its portal, its people, a batch with results, a model, a signed trail.

Each deed brings what it uses up, so that the tests may come in any order.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from flask import Flask
from flask.testing import FlaskClient

from dermabatch import accounts
from dermabatch.accounts import second_factor
from dermabatch.accounts.sessions import Origin, SessionLimits, open_session
from dermabatch.audit import Chainer
from dermabatch.database import Sessions
from dermabatch.derived import Derived
from dermabatch.identifiers import new_id
from dermabatch.lifecycle import ModelState
from dermabatch.objects import ObjectStore
from dermabatch.schema import ApiToken, Image, Model, Role, User
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage
from tests.conftest import Database
from tests.situations import (
    TESTS,
    File,
    Hospital,
    batch_with_results,
    open_hospital,
    register_active_model,
    store_derived,
    tiny_manifest,
)

_LIMITS = SessionLimits(idle=timedelta(minutes=30), absolute=timedelta(hours=12))


@dataclass(frozen=True)
class Asker:
    """Somebody with a browser, or a program with a token; `id` and `department` are theirs where they are known."""

    client: FlaskClient
    id: UUID | None = None
    department: UUID | None = None
    token: str | None = None

    def ask(self, method: str, path: str, **request: Any) -> Any:
        headers = {**request.pop("headers", {})}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        return self.client.open(path, method=method, headers=headers, **request)


class House:
    """The hospital, and the means to prepare what a deed needs."""

    def __init__(self, app: Flask, settings: Settings, database: Database, store: ObjectStore) -> None:
        self.app, self.settings, self.database, self.store = app, settings, database, store
        self.sessions: Sessions = database.sessions("web")
        self.keyring = KeyRing(settings.master_key)
        self.hospital: Hospital = open_hospital(self.sessions)
        self.digest = register_active_model(self.sessions, self.hospital)
        self.batch = self.new_batch([File("a.jpg", Triage.URGENT, 0.9)])
        grid = np.full((7, 7, 7), 128, np.uint8)
        worker = database.sessions("worker")
        store_derived(worker, store, self.keyring, self.batch, [Derived(b"a thumbnail", grid)])
        with worker.begin() as session:
            self.image = session.scalar(sa.select(Image.id).where(Image.batch_id == self.batch))
        self.sign_the_trail()
        self.nurse = self.browser(self.hospital.nurse)
        self.administrator = self.browser(self.hospital.administrator)
        self.other_nurse = self.browser(self.hospital.other_nurse)
        self.without_roles = self.browser(self.new_person())
        self.stranger = Asker(app.test_client())

    # People

    def browser(self, user_id: UUID, *, complete: bool = True) -> Asker:
        """A browser in which this person has signed in, or has given the password alone."""
        with self.sessions.begin() as session:
            user = session.get_one(User, user_id)
            origin = Origin("127.0.0.1")
            token = open_session(session, user, complete=complete, origin=origin, limits=_LIMITS)
        client = self.app.test_client()
        client.set_cookie("sign-in", token)
        return Asker(client, user_id, user.department_id)

    def program(self, user_id: UUID, *scopes: accounts.Scope) -> Asker:
        """A program with a new token of this person."""
        secret, _ = self.new_token(user_id, *scopes)
        return Asker(self.app.test_client(), user_id, self._department_of(user_id), secret)

    def new_person(self, *roles: str) -> UUID:
        """Somebody of the first department whose password is `PASSWORD`."""
        with self.sessions.begin() as session:
            like = session.get_one(User, self.hospital.nurse)
            given = list(session.scalars(sa.select(Role).where(Role.name.in_(roles))))
            email = f"{uuid4().hex}@hospital.example"
            user = User(
                email=email,
                name="Somebody",
                password=like.password,
                department_id=like.department_id,
                roles=given,
            )
            session.add(user)
            session.flush()
            return user.id

    def email_of(self, user_id: UUID) -> str:
        with self.sessions.begin() as session:
            return session.get_one(User, user_id).email

    def new_token(self, user_id: UUID, *scopes: accounts.Scope) -> tuple[str, UUID]:
        """The secret of a new token, and its id."""
        with self.sessions.begin() as session:
            secret = accounts.create_token(
                session,
                session.get_one(User, user_id),
                name="test",
                scopes=scopes,
                expires_at=None,
                actor=TESTS,
            )
            newest = sa.select(ApiToken.id).where(ApiToken.user_id == user_id).order_by(ApiToken.id.desc())
            return secret, session.scalars(newest).first()

    def prepare_second_factor(self, user_id: UUID) -> Callable[[int], str]:
        """Gives a person a secret; returns an authenticator, which counts half minutes from now."""
        with self.sessions.begin() as session:
            user = session.get_one(User, user_id)
            second_factor.prepare(session, self.keyring, user, actor=TESTS)
            secret = second_factor.prepared_secret(session, self.keyring, user)
        app = TOTP(secret, 6, SHA1(), 30)
        return lambda steps: app.generate(int(time.time()) + 30 * steps).decode()

    def enrol(self, user_id: UUID) -> Callable[[int], str]:
        """Gives a person a second factor, confirmed by the code of the present half minute."""
        code = self.prepare_second_factor(user_id)
        with self.sessions.begin() as session:
            user = session.get_one(User, user_id)
            assert second_factor.confirm(session, self.keyring, user, code(0), actor=TESTS)
        return code

    # Things

    def new_batch(self, files: list[File] | None = None) -> UUID:
        """A batch of the first department; of one image that waits where nothing else is said."""
        worker = self.database.sessions("worker")
        files = files or [File("a.jpg")]
        return batch_with_results(
            self.sessions, worker, self.hospital, self.keyring, files, digest=self.digest
        )

    def new_model(self, *, published_by: UUID | None = None) -> str:
        """A candidate, without its bytes."""
        digest = (new_id().hex + uuid4().hex)[::-1]
        with self.sessions.begin() as session:
            session.add(
                Model(
                    digest=digest,
                    name="tiny-2",
                    state=ModelState.CANDIDATE,
                    manifest=tiny_manifest().model_dump(mode="json"),
                    signature=b"\0" * 64,
                    published_by=published_by or self.hospital.installer,
                )
            )
        return digest

    # The trail

    def sign_the_trail(self) -> None:
        chainer = Chainer(self.database.sessions("chainer"), self.store, self.settings.signing_key)
        while chainer.run_once():
            pass
        chainer.signer.sign()

    @contextmanager
    def broken_trail(self) -> Iterator[None]:
        """A signed event was changed, as long as the block lasts."""
        self._as_superuser("ALTER TABLE audit_events DISABLE TRIGGER USER")
        self._as_superuser("UPDATE audit_events SET source = 'x' || source WHERE seq = 2")
        try:
            yield
        finally:
            self._as_superuser("UPDATE audit_events SET source = substr(source, 2) WHERE seq = 2")

    @contextmanager
    def watching(self) -> Iterator[list[sa.RowMapping]]:
        """Holds, once the block has ended, the events that it has left."""
        events: list[sa.RowMapping] = []
        with self.database.sessions("chainer").begin() as session:
            before = session.scalar(sa.text("SELECT coalesce(max(id), 0) FROM audit_pending"))
        yield events
        newer = sa.text(
            "SELECT *, details::json AS told FROM audit_pending WHERE id > :before ORDER BY id"
        ).bindparams(before=before)
        with self.database.sessions("chainer").begin() as session:
            events += session.execute(newer).mappings()

    def _as_superuser(self, statement: str) -> None:
        with self.database.sessions("postgres").begin() as session:
            session.execute(sa.text(statement))

    def _department_of(self, user_id: UUID) -> UUID:
        with self.sessions.begin() as session:
            return session.get_one(User, user_id).department_id
