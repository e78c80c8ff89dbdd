"""How the system is: services, waiting work, leases, and whether every received file is accounted for."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from flask import Blueprint, render_template
from redis import RedisError
from sqlalchemy.orm import Session

from dermabatch import ledger, model_store
from dermabatch.audit import BacklogWatch
from dermabatch.errors import ObjectStoreUnavailable
from dermabatch.lifecycle import ChunkState, Queue
from dermabatch.schema import Chunk
from webui.access import department_session
from webui.portal import portal

blueprint = Blueprint("system", __name__, url_prefix="/system")


@dataclass(frozen=True, slots=True)
class Services:
    """What answers besides the database, without which there would be no page."""

    messages: int | None
    """Wake-up messages that wait in Redis; None: it does not answer."""
    storage: bool
    sandbox: str


@blueprint.get("")
def show() -> str:
    """One look at everything. Reads no result, so that it leaves no event."""
    with department_session() as session:
        return render_template(
            "system.html",
            services=_services(),
            chunks=_chunks(session),
            leases=_leases(session),
            queues=list(Queue),
            conservation=ledger.conservation(session),
            backlog=BacklogWatch().look(session),
            serving=model_store.active_model(session),
            now=datetime.now(UTC),
        )


def _services() -> Services:
    collaborators = portal()
    try:
        messages = collaborators.wake_up.waiting()
    except (RedisError, OSError):
        messages = None
    try:
        collaborators.store.exists("models/")
        storage = True
    except ObjectStoreUnavailable:
        storage = False
    return Services(messages, storage, collaborators.decoders.sandbox_level)


def _chunks(session: Session) -> Counter[tuple[Queue, ChunkState]]:
    rows = session.execute(
        sa.select(Chunk.queue, Chunk.state, sa.func.count()).group_by(Chunk.queue, Chunk.state)
    )
    return Counter({(queue, state): count for queue, state, count in rows})


def _leases(session: Session) -> list[Chunk]:
    query = sa.select(Chunk).where(Chunk.state == ChunkState.RUNNING).order_by(Chunk.lease_until)
    return list(session.scalars(query))
