"""Find work that nobody does: leases that ended without a result."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

# The first lapse waits for nothing: mostly the worker was killed, and people wait for the images.
# Further ones back off, because something about the chunk or the machine stops its workers.
_RETURN_LAPSED = sa.text("""
    WITH lapsed AS (
        SELECT id FROM chunks
        WHERE state = 'running' AND lease_until < clock_timestamp()
        ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE chunks
    SET state = 'ready', lease_until = NULL, lapses = lapses + 1, isolated = true,
        not_before = CASE WHEN lapses > 0 THEN
            clock_timestamp() + make_interval(secs => least(600, 5 * 2 ^ least(lapses, 10))) END
    FROM lapsed WHERE chunks.id = lapsed.id
    RETURNING chunks.id, chunks.lapses
""")

_WAITING = sa.text("""
    SELECT count(*) FROM chunks
    WHERE state = 'ready' AND (not_before IS NULL OR not_before <= clock_timestamp())
""")


def return_lapsed(session: Session) -> dict[str, int]:
    """Make chunks whose lease ended claimable again, in quarantine. Two sweepers at once do no harm.

    Returns:
        Chunk identifier to how often its lease has lapsed; from the second time on it deserves an alarm.
    """
    return {str(chunk_id): lapses for chunk_id, lapses in session.execute(_RETURN_LAPSED)}


def waiting_chunks(session: Session) -> int:
    """Chunks that a worker could claim now."""
    return session.scalar(_WAITING) or 0
