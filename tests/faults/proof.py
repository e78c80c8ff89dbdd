"""What must hold after every fault, whatever it was."""

from datetime import timedelta

import sqlalchemy as sa
from pydantic import SecretStr

from cli.doctor import examine
from dermabatch.audit import Actor, ActorKind
from dermabatch.embedded.host import wait_until
from dermabatch.intake import collect_orphans
from dermabatch.lifecycle import PREDICTED_STATES, ChunkState, PackState
from dermabatch.schema import Chunk, Image, Pack, Prediction
from tests.live import LiveInstallation

_ACTOR = Actor(None, ActorKind.SERVICE, "tests")


def assert_nothing_lost_or_doubled(live: LiveInstallation) -> None:
    """Once nothing waits any more: conservation, one prediction each, no stray bytes, the trail whole."""
    assert wait_until(lambda: _at_rest(live), seconds=240), "work is left"
    give_up_silent_uploads(live)
    _assert_the_doctor_is_content(live)
    _assert_one_prediction_for_each_answered_image(live)
    _assert_the_storage_holds_what_rows_stand_for_and_no_more(live)
    live.assert_trail_holds()


def give_up_silent_uploads(live: LiveInstallation) -> None:
    """As the scheduler does a quarter of an hour after the last sign of life. No upload may be under way."""
    collect_orphans(
        sessions=live.behind, store=live.installation.store, actor=_ACTOR, silent_for=timedelta(0)
    )


def _at_rest(live: LiveInstallation) -> bool:
    with live.behind.begin() as session:
        unfinished = session.scalar(
            sa.select(sa.func.count()).where(Chunk.state.in_([ChunkState.READY, ChunkState.RUNNING]))
        )
    return unfinished == 0


def _assert_the_doctor_is_content(live: LiveInstallation) -> None:
    """Services, model, conservation, and every stored pack read and its checksum compared."""
    worker = SecretStr(live.installation.services.postgres_url("worker"))
    settings = live.installation.settings.model_copy(update={"database_url": worker})
    found = [check for check in examine(settings, deep=True) if not check.ok]
    assert not found


def _assert_one_prediction_for_each_answered_image(live: LiveInstallation) -> None:
    with live.behind.begin() as session:
        answered = session.scalars(sa.select(Image.id).where(Image.state.in_(PREDICTED_STATES))).all()
        predicted = session.execute(sa.select(Prediction.image_id, Prediction.model_digest)).all()
    assert len(set(predicted)) == len(predicted)
    assert sorted(image_id for image_id, _ in predicted) == sorted(answered)


def _assert_the_storage_holds_what_rows_stand_for_and_no_more(live: LiveInstallation) -> None:
    with live.behind.begin() as session:
        packs = set(session.scalars(sa.select(Pack.object_key).where(Pack.state == PackState.STORED)))
        derived = set(session.scalars(sa.select(Prediction.derived_key)))
    # A former holder of a chunk removes its object a moment after its late write was counted.
    in_time = wait_until(lambda: _keys(live, "derived/") == derived, seconds=10)
    stored = _keys(live, "derived/")
    assert in_time, f"of no prediction: {stored - derived}; missing: {derived - stored}"
    assert _keys(live, "packs/") == packs


def _keys(live: LiveInstallation, prefix: str) -> set[str]:
    return {entry.key for entry in live.installation.store.list(prefix)}
