"""A running installation as the end-to-end and fault tests use it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa
import urllib3
from sqlalchemy.orm import InstrumentedAttribute

from cli.installation import Installation, Login
from cli.portal_client import PortalClient, Upload
from dermabatch import accounts, audit, ledger
from dermabatch.database import Sessions, connect
from dermabatch.embedded.host import wait_until
from dermabatch.errors import InvalidRequest, ServiceUnavailable
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.lifecycle import ChunkState
from dermabatch.schema import Chunk, Image, Prediction


@dataclass(frozen=True)
class LiveInstallation:
    """The system, two people who may sign in, and a look behind the scenes."""

    installation: Installation
    staff: Login
    administrator: Login
    token: str
    client: PortalClient
    behind: Sessions
    """Of the worker's role: sees every department."""

    @classmethod
    def open(cls, installation: Installation) -> Self:
        staff = installation.person("nurse@hospital.example", "Nurse", accounts.STAFF)
        administrator = installation.person("admin@hospital.example", "Administrator", accounts.ADMINISTRATOR)
        installation.activate_shipped_model(administrator.email)
        token = installation.token(staff.email, accounts.Scope.BATCHES_READ, accounts.Scope.BATCHES_WRITE)
        return cls(
            installation,
            staff,
            administrator,
            token,
            PortalClient(installation.portal_url, token),
            connect(installation.services.postgres_url("worker")),
        )

    def hand_in(self, uploads: Sequence[Upload], *, key: str) -> str:
        """Hand in a batch under an idempotency key; returns its id.

        Raises:
            ServiceUnavailable: the portal broke off or answered that something is away.
            InvalidRequest: it refused.
        """
        fields = [("files", (upload.name, upload.data, "image/jpeg")) for upload in uploads]
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        url = f"{self.installation.portal_url}/api/v1/batches"
        try:
            answer = urllib3.request("POST", url, fields=fields, headers=headers, retries=False, timeout=120)
        except urllib3.exceptions.HTTPError as error:
            raise ServiceUnavailable(f"The portal does not answer: {error}") from error
        if answer.status != HTTPStatus.ACCEPTED:
            kind = ServiceUnavailable if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidRequest
            raise kind(f"The portal answered {answer.status}.")
        return str(answer.json()["batch_id"])

    def retry(self, batch_id: str) -> int:
        """Try the failed images of a batch again; returns how many there are."""
        url = f"{self.installation.portal_url}/api/v1/batches/{batch_id}/retry"
        answer = urllib3.request("POST", url, headers={"Authorization": f"Bearer {self.token}"})
        return int(answer.json()["images"])

    def wait_for(self, batch_id: str, *, timeout_seconds: float = 240) -> dict[str, Any]:
        """The batch once nothing of it is pending."""
        return list(self.client.follow(batch_id, timeout_seconds=timeout_seconds))[-1]

    def answered(self, batch_id: str) -> int:
        """On how many images the model has spoken once nothing is pending; painted lesions may be strange to it."""
        states = self.wait_for(batch_id)["states"]
        return states["classified"] + states["unassessable"]

    def counts(self, batch_id: str) -> ledger.BatchCounts:
        with self.behind.begin() as session:
            return ledger.counts(session, UUID(batch_id))

    def running_chunks(self) -> int:
        with self.behind.begin() as session:
            return session.scalar(sa.text("SELECT count(*) FROM chunks WHERE state = 'running'"))

    def waiting_chunks(self) -> int:
        """Chunks that nobody holds, also those that are in a pause."""
        with self.behind.begin() as session:
            return session.scalar(sa.text("SELECT count(*) FROM chunks WHERE state = 'ready'"))

    def lapses(self, batch_id: str) -> int:
        """How often a chunk of this batch lost its holder."""
        return self._sum_over_chunks(batch_id, Chunk.lapses)

    def late_writes(self, batch_id: str) -> int:
        """How often a former holder of a chunk of this batch tried to record it."""
        return self._sum_over_chunks(batch_id, Chunk.late_writes)

    @contextmanager
    def superuser(self) -> Iterator[sa.Connection]:
        """The database as its administrator; every statement is its own transaction."""
        engine = sa.create_engine(
            self.installation.services.postgres_url("postgres"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    def _sum_over_chunks(self, batch_id: str, column: InstrumentedAttribute[int]) -> int:
        with self.behind.begin() as session:
            return session.scalar(sa.select(sa.func.sum(column)).where(Chunk.batch_id == UUID(batch_id))) or 0

    def given_back(self, batch_id: str) -> int:
        """Chunks of this batch that a worker gave back in trouble and that nobody has claimed since."""
        with self.behind.begin() as session:
            return session.scalar(
                sa.select(sa.func.count()).where(
                    Chunk.batch_id == UUID(batch_id),
                    Chunk.state == ChunkState.READY,
                    Chunk.lease_no > 0,
                    Chunk.lapses == 0,
                )
            )

    def end_pauses(self) -> None:
        """As if the pauses after troubles were over."""
        with self.behind.begin() as session:
            session.execute(sa.update(Chunk).values(not_before=None).where(Chunk.state == ChunkState.READY))

    def stops(self, batch_id: str) -> list[int]:
        """How often images of this batch stopped a process, those that did."""
        with self.behind.begin() as session:
            return list(
                session.scalars(
                    sa.select(Image.stops).where(Image.batch_id == UUID(batch_id), Image.stops > 0)
                )
            )

    def predictions(self, batch_id: str) -> list[dict[str, Any]]:
        """Every row that a model's answers made for this batch, as it stands."""
        with self.behind.begin() as session:
            rows = session.execute(
                sa.select(Prediction.__table__)
                .join(Image, Image.id == Prediction.image_id)
                .where(Image.batch_id == UUID(batch_id))
                .order_by(Prediction.id)
            )
            return [dict(row) for row in rows.mappings()]

    def assert_nothing_lost(self, batches: Sequence[str], *, images: int) -> None:
        """Every image has one outcome, every classified one has one prediction, and the trail holds."""
        with self.behind.begin() as session:
            conservation = ledger.conservation(session)
            assert conservation.holds, conservation.line()
            predictions = session.execute(
                sa.text("""
                    SELECT count(*), count(DISTINCT p.image_id)
                    FROM predictions p JOIN images i ON i.id = p.image_id
                    WHERE i.batch_id = ANY(:batches)
                """),
                {"batches": [UUID(batch) for batch in batches]},
            ).one()
        assert tuple(predictions) == (images, images)
        self.assert_trail_holds()

    def assert_trail_holds(self) -> None:
        """Every event is in the chain, and the chain verifies from its beginning."""

        def chained() -> bool:
            with self.behind.begin() as session:
                return audit.BacklogWatch().look(session).waiting == 0

        assert wait_until(chained, seconds=30), "events wait although the chainer runs"
        installation = self.installation
        with installation.sessions.begin(auditor=True) as session:
            found = audit.verify(session, installation.store, installation.settings.verify_key, full=True)
        assert found.ok, found.problem


def small_lesions(count: int, *, first_seed: int = 1) -> list[Upload]:
    """Different small pictures: what they show does not matter, how many there are does."""
    return [
        Upload(f"lesion-{seed}.jpg", lesion_jpeg(seed, width=160, height=120))
        for seed in range(first_seed, first_seed + count)
    ]
