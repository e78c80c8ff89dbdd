"""One installation that two departments have filled, and everybody who may knock at its door."""

import hashlib
import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa

from dermabatch import accounts
from dermabatch.accounts import Scope, second_factor
from dermabatch.accounts.sessions import open_session
from dermabatch.accounts.tables import WebSession
from dermabatch.audit import Chainer
from dermabatch.database import Sessions
from dermabatch.derived import Derived
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.intake import IncomingFile, accept_upload, parse_metadata
from dermabatch.lifecycle import Queue
from dermabatch.objects import ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.schema import ApiToken, Department, Image, Role, User
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage
from tests.conftest import Database, copied
from tests.situations import (
    SALT,
    TESTS,
    File,
    Hospital,
    open_hospital,
    password_hash,
    person,
    predict,
    register_active_model,
    store_derived,
)
from webui.app import create_app

LIMITS = accounts.SessionLimits(idle=timedelta(hours=1), absolute=timedelta(hours=12))
OF_STAFF = (Scope.BATCHES_WRITE, Scope.BATCHES_READ, Scope.MODELS_READ)
OF_ADMINISTRATORS = (Scope.MODELS_READ, Scope.MODELS_WRITE, Scope.AUDIT_READ)


@dataclass(frozen=True)
class Filled:
    """What one department has handed in and got: every image is stored, named and answered for."""

    nurse: UUID
    mark: str
    """Stands in every name, number and label that came from this department."""
    batch: UUID
    images: Sequence[UUID]


@dataclass
class House:
    """A portal on real services."""

    database: Database
    sessions: Sessions
    store: ObjectStore
    settings: Settings
    wake_up: WakeUp
    decoders: object
    hospital: Hospital

    @cached_property
    def app(self):
        return self.open()

    def open(self, **settings):
        """An application of its own, with some settings changed."""
        return create_app(
            self.settings.model_copy(update=settings),
            sessions=self.sessions,
            store=self.store,
            wake_up=self.wake_up,
            decoders=self.decoders,
        )

    def fill(self, department: UUID, nurse: UUID, mark: str) -> Filled:
        """Hand two pictures in, and let a worker have answered."""
        table = "file,patient,lesion_id,age\n" + "".join(
            f"{mark}-{place}.jpg,{mark}-patient,{mark}-lesion,61\n" for place in (1, 2)
        )
        keyring = KeyRing(self.settings.master_key)
        batch = accept_upload(
            files=[
                IncomingFile(f"{mark}-{place}.jpg", io.BytesIO(lesion_jpeg(place, width=300, height=200)))
                for place in (1, 2)
            ],
            metadata=parse_metadata(io.BytesIO(table.encode())),
            submitter=SimpleNamespace(id=nurse, department_id=department),
            actor=person(nurse),
            queue=Queue.INTERACTIVE,
            idempotency_key=f"{mark}-key",
            sessions=self.sessions,
            store=self.store,
            keyring=keyring,
            wake_up=self.wake_up,
            decoders=self.decoders,
            settings=self.settings,
        ).batch_id
        worker = self.database.sessions("worker")
        with worker.begin() as session:
            images = session.scalars(
                sa.select(Image).where(Image.batch_id == batch).order_by(Image.ordinal)
            ).all()
            for image in images:
                predict(session, image, File("", Triage.URGENT, 0.8), "ab" * 32)
        items = [Derived(lesion_jpeg(place), np.full((7, 7, 7), 128, np.uint8)) for place in (1, 2)]
        store_derived(worker, self.store, keyring, batch, items)
        return Filled(nurse, mark, batch, [image.id for image in images])

    def person(self, name: str, *roles: str, department: UUID | None = None) -> UUID:
        """A new person, of the first department if not said otherwise."""
        with self.sessions.begin() as session:
            user = User(
                email=f"{name}@hospital.example",
                name=name,
                password=password_hash(),
                department=session.get(Department, department or self.hospital.department),
                roles=list(session.scalars(sa.select(Role).where(Role.name.in_(roles)))),
            )
            session.add(user)
            session.flush()
            return user.id

    def second_factor(self, user: UUID) -> None:
        """Let this person have one, as if they had set it up."""
        keyring = KeyRing(self.settings.master_key)
        with self.sessions.begin() as session:
            second_factor.prepare(session, keyring, session.get(User, user), actor=TESTS)
        self.behind("UPDATE second_factors SET confirmed_at = now() WHERE user_id = :user", user=user)

    def stay(self, user: UUID, *, complete: bool = True, **changes) -> str:
        """The cookie of a new stay; `changes` are made to its row afterwards, behind the portal's back."""
        with self.sessions.begin() as session:
            origin = accounts.Origin(address="192.0.2.1", browser="tests")
            token = open_session(
                session, session.get(User, user), complete=complete, origin=origin, limits=LIMITS
            )
            _change(session, WebSession, token, changes)
        return token

    def token(self, user: UUID, *scopes: Scope, **changes) -> str:
        """A new API token; `changes` are made to its row afterwards, behind the portal's back."""
        with self.sessions.begin() as session:
            token = accounts.create_token(
                session, session.get(User, user), name="tests", scopes=scopes, expires_at=None, actor=TESTS
            )
            _change(session, ApiToken, token, changes)
        return token

    def behind(self, statement: str, **values) -> None:
        """Change something as the portal's role may, but as no page of it would."""
        with self.sessions.begin() as session:
            session.execute(sa.text(statement), values)


def _change(session, table, token, changes):
    if changes:
        hashed = hashlib.sha256(token.encode()).digest()
        session.execute(sa.update(table).where(table.token_hash == hashed).values(changes))


@pytest.fixture(scope="module")
def house(services, migrated_template, bucket, decoders):
    """The hospital of `tests.situations` with a model that serves; for all tests of a module."""
    with copied(services, migrated_template) as database:
        values = services.environment("web", database.name) | {
            "DERMABATCH_REDIS_URL": services.redis_url,
            "DERMABATCH_PASSWORD_SALT": SALT,
            "DERMABATCH_INSECURE_COOKIES": "true",
        }
        settings = Settings(
            **{name.removeprefix("DERMABATCH_").lower(): value for name, value in values.items()}
        )
        sessions = database.sessions("web")
        hospital = open_hospital(sessions)
        register_active_model(sessions, hospital)
        with closing(WakeUp(settings)) as wake_up:
            yield House(database, sessions, bucket, settings, wake_up, decoders, hospital)
        for info in bucket.list(""):
            bucket.delete(info.key)


@pytest.fixture(scope="module")
def here(house):
    """The first department's batch, with its place in the signed trail."""
    filled = house.fill(house.hospital.department, house.hospital.nurse, "ward-one")
    chainer = Chainer(house.database.sessions("chainer"), house.store, house.settings.signing_key)
    while chainer.run_once():
        pass
    chainer.signer.sign()
    return filled


@pytest.fixture(scope="module")
def there(house):
    """The other department's batch."""
    return house.fill(house.hospital.other_department, house.hospital.other_nurse, "ward-two")
