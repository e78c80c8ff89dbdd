"""A trail with its chainer, and the means of somebody who owns the database."""

from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dermabatch import audit
from dermabatch.audit import Action, Actor, ActorKind, Chainer, Event, Outcome
from dermabatch.audit.reading import stream

TABLES = ("audit_pending", "audit_events", "audit_checkpoints")


class Trail:
    """Events are views of images numbered from 1; `chain` and `sign` are what the scheduler does by the clock."""

    signing_key = b"k" * 32
    verify_key = Ed25519PrivateKey.from_private_bytes(signing_key).public_key().public_bytes_raw()

    def __init__(self, database, store):
        self.database = database
        self.store = store
        self.chainer = self.new_chainer()
        self.written = 0

    def new_chainer(self, **options):
        return Chainer(self.database.sessions("chainer"), self.store, self.signing_key, **options)

    def write(self, count=1, **changes):
        """Append events without chaining them."""
        with self.database.sessions("web").begin() as session:
            for _ in range(count):
                self.written += 1
                audit.append(session, self.view_of(self.written, **changes))

    def grow(self, count=1):
        """Append events, chain them and sign the end."""
        self.write(count)
        self.chainer.run_once()
        return self.chainer.signer.sign()

    def verify(self, *, full=True, **options):
        with self.database.sessions("web").begin(auditor=True) as session:
            return audit.verify(session, self.store, self.verify_key, full=full, **options)

    def events(self):
        """The chain as the table holds it."""
        with self.database.sessions("chainer").begin(auditor=True) as session:
            return list(stream(session))

    @contextmanager
    def owner_with_the_walls_down(self):
        """The owner of the tables, after taking down row-level security and triggers; puts them back."""
        triggers = [(table, "append_only") for table in TABLES] + [("audit_events", "in_order")]
        with self.database.sessions("owner").begin() as session:
            for table in TABLES:
                session.execute(
                    sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER, DISABLE ROW LEVEL SECURITY")
                )
            yield session
            for table in TABLES:
                session.execute(sa.text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
            for table, trigger in triggers:
                session.execute(sa.text(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"))

    def tamper(self, *statements):
        with self.owner_with_the_walls_down() as session:
            for statement in statements:
                session.execute(sa.text(statement))

    @staticmethod
    def view_of(number, **changes):
        event = {
            "actor": Actor(None, ActorKind.SERVICE, "tests"),
            "object_type": "image",
            "object_id": str(number),
            "details": {"number": number},
        }
        return Event(Action.IMAGE_VIEW, Outcome.SUCCESS, **{**event, **changes})


@pytest.fixture
def trail(database, object_store):
    return Trail(database, object_store)


@pytest.fixture
def signed_trail(trail):
    """Three checkpoints, at the events 10, 20 and 30."""
    for _ in range(3):
        trail.grow(10)
    return trail
