"""A running installation as the end-to-end and fault tests use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa

from cli.installation import Installation, Login
from cli.portal_client import PortalClient, Upload
from dermabatch import accounts, audit, ledger
from dermabatch.database import Sessions, connect
from dermabatch.embedded.host import wait_until
from dermabatch.imaging.synthetic import lesion_jpeg


@dataclass(frozen=True)
class LiveInstallation:
    """The system, two people who may sign in, and a look behind the scenes."""

    installation: Installation
    staff: Login
    administrator: Login
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
            PortalClient(installation.portal_url, token),
            connect(installation.services.postgres_url("worker")),
        )

    def wait_for(self, batch_id: str, *, timeout_seconds: float = 240) -> dict[str, Any]:
        """The batch once nothing of it is pending."""
        return list(self.client.follow(batch_id, timeout_seconds=timeout_seconds))[-1]

    def counts(self, batch_id: str) -> ledger.BatchCounts:
        with self.behind.begin() as session:
            return ledger.counts(session, UUID(batch_id))

    def running_chunks(self) -> int:
        with self.behind.begin() as session:
            return session.scalar(sa.text("SELECT count(*) FROM chunks WHERE state = 'running'"))

    def lapses(self, batch_id: str) -> int:
        """How often a chunk of this batch lost its holder."""
        with self.behind.begin() as session:
            return session.scalar(
                sa.text("SELECT sum(lapses) FROM chunks WHERE batch_id = :id"), {"id": UUID(batch_id)}
            )

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
