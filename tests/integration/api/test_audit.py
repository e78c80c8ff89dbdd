import pytest

from dermabatch.audit import Chainer


@pytest.fixture
def chain(database, object_store, settings):
    """Gives every event that waits its place in the chain."""

    def _chain():
        chainer = Chainer(database.sessions("chainer"), object_store, settings.signing_key)
        while chainer.run_once():
            pass

    return _chain


def test_events_of_every_department_are_found_newest_first(
    administrator, nurse, other_nurse, hospital, chain
):
    nurse.get("/batches")
    other_nurse.get("/batches")
    chain()
    lists = administrator.get("/audit/events?action=batches.list").json["events"]
    assert [event["actor_id"] for event in lists] == [str(hospital.other_nurse), str(hospital.nurse)]
    assert lists[0]["department_id"] == str(hospital.other_department)
    assert len(lists[0]["hash"]) == 64
    only = administrator.get(f"/audit/events?actor_id={hospital.nurse}&action=batches.list").json["events"]
    assert [event["seq"] for event in only] == [lists[1]["seq"]]


def test_events_come_page_by_page(administrator, nurse, chain):
    for _ in range(3):
        nurse.get("/batches")
    chain()
    first = administrator.get("/audit/events?action=batches.list&limit=2").json
    second = administrator.get(
        f"/audit/events?action=batches.list&limit=2&cursor={first['next_cursor']}"
    ).json
    assert len(first["events"]) == 2
    assert len(second["events"]) == 1
    assert second["next_cursor"] is None


def test_searching_leaves_an_event_itself(administrator, audited):
    administrator.get("/audit/events?since=2026-01-01T00:00:00Z")
    ((outcome, details),) = audited("audit.search")
    assert (outcome, details["filters"]) == ("success", ["since"])


def test_the_trail_verifies(administrator, nurse, chain, audited):
    nurse.get("/batches")
    chain()
    for query in ("", "?full=true"):
        verdict = administrator.get(f"/audit/verification{query}").json
        assert verdict["ok"] is True, verdict["problem"]
        assert verdict["events"] > 0
    assert len(audited("audit.verify")) == 2
