"""Running workers follow the active model: at their next claim, without a restart and without a mixed chunk."""

import shutil
import time
from uuid import UUID

import pytest
import sqlalchemy as sa

from cli.portal_client import Upload
from dermabatch import accounts, model_store
from dermabatch.audit import Actor, ActorKind
from dermabatch.embedded.host import wait_until
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.manifest import MANIFEST, parse_manifest
from dermabatch.shipped import SHIPPED_MODEL
from tests.live import small_lesions


@pytest.fixture
def second_model(live, tmp_path) -> str:
    """Another published candidate: the shipped weights under another name, and so another digest."""
    folder = tmp_path / "artifact"
    shutil.copytree(SHIPPED_MODEL.folder, folder)
    manifest = parse_manifest((folder / MANIFEST).read_bytes())
    renamed = manifest.model_copy(update={"name": "second-1"})
    (folder / MANIFEST).write_bytes(renamed.to_bytes())
    installation = live.installation
    published = model_store.publish(
        folder,
        publisher=Actor(
            accounts.bootstrap(installation.sessions, source="tests"), ActorKind.SERVICE, "tests"
        ),
        sessions=installation.sessions,
        store=installation.store,
        signing_key=installation.settings.signing_key,
    )
    return published.digest


def models_of_next_batch(live, seed: int) -> list[str]:
    batch = live.client.submit([Upload("one.jpg", lesion_jpeg(seed))])
    return list(live.wait_for(batch)["models"])


def test_running_workers_follow_an_activation_and_a_roll_back(live, second_model):
    installation = live.installation
    administrator = accounts.actor_for(installation.user(live.administrator.email), source="tests")
    shipped = installation.shipped_model()
    assert models_of_next_batch(live, 300) == [shipped]
    model_store.activate(second_model, actor=administrator, sessions=installation.sessions)
    assert models_of_next_batch(live, 301) == [second_model]
    model_store.rollback(actor=administrator, sessions=installation.sessions)
    assert models_of_next_batch(live, 302) == [shipped]


@pytest.fixture
def administrator(live):
    return accounts.actor_for(live.installation.user(live.administrator.email), source="tests")


def chunks_by_model(live, batch: str) -> dict[str, int]:
    """How many chunks of the batch each model has claimed so far."""
    with live.behind.begin() as session:
        rows = session.execute(
            sa.text(
                "SELECT model_digest, count(*) FROM chunks"
                " WHERE batch_id = :id AND model_digest IS NOT NULL GROUP BY 1"
            ),
            {"id": UUID(batch)},
        )
        return dict(rows.all())


def mixed_chunks(live, batch: str) -> list[UUID]:
    """Chunks with a prediction of another model than the one that they were claimed with."""
    with live.behind.begin() as session:
        return list(
            session.scalars(
                sa.text(
                    "SELECT DISTINCT c.id FROM chunks c JOIN predictions p ON p.chunk_id = c.id"
                    " WHERE c.batch_id = :id AND p.model_digest <> c.model_digest"
                ),
                {"id": UUID(batch)},
            )
        )


def test_an_activation_in_the_middle_of_a_batch_leaves_no_mixed_chunk_and_a_roll_back_takes_seconds(
    live, second_model, administrator, record_property
):
    installation, shipped = live.installation, live.installation.shipped_model()
    worker = installation.services.pids["worker"]

    batch = live.client.submit(small_lesions(640, first_seed=70_000))
    assert wait_until(lambda: chunks_by_model(live, batch).get(shipped, 0) > 0, seconds=60)
    model_store.activate(second_model, actor=administrator, sessions=installation.sessions)
    assert live.answered(batch) == 640
    by_model = chunks_by_model(live, batch)
    assert set(by_model) == {shipped, second_model}, "the activation came before or after all of the work"
    assert mixed_chunks(live, batch) == []

    batch = live.client.submit(small_lesions(640, first_seed=80_000))
    assert wait_until(lambda: chunks_by_model(live, batch).get(second_model, 0) > 0, seconds=60)
    started = time.monotonic()
    model_store.rollback(actor=administrator, sessions=installation.sessions)
    assert wait_until(lambda: chunks_by_model(live, batch).get(shipped, 0) > 0, seconds=60)
    record_property("roll_back_seconds", round(time.monotonic() - started, 2))
    assert live.answered(batch) == 640
    assert mixed_chunks(live, batch) == []
    assert installation.services.pids["worker"] == worker, "the worker was started again"
