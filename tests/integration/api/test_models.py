import pytest

from dermabatch import model_store
from tests.integration.api.test_access import assert_problem
from tests.situations import person, write_artifact


@pytest.fixture
def publish(tmp_path, sessions, object_store, hospital, settings):
    def _publish(name, *, by=None):
        return model_store.publish(
            write_artifact(tmp_path / name, name=name),
            publisher=person(by or hospital.installer),
            sessions=sessions,
            store=object_store,
            signing_key=settings.signing_key,
        ).digest

    return _publish


def test_no_model_is_active_at_first(nurse):
    assert nurse.get("/models").json == {"models": []}
    assert_problem(nurse.get("/models/active"), 404, "not_found")


def test_an_administrator_activates_and_goes_back(administrator, nurse, publish, audited):
    first, second = publish("first"), publish("second")
    for digest in (first, second):
        answer = administrator.post(f"/models/{digest}/activate")
        assert (answer.status_code, answer.json["model_digest"]) == (200, digest)
    assert nurse.get("/models/active").json["manifest"]["name"] == "second"
    assert administrator.post("/models/roll-back").json["returned"] is True
    assert {model["digest"]: model["state"] for model in nurse.get("/models").json["models"]} == {
        first: "active",
        second: "retired",
    }
    assert [outcome for outcome, _ in audited("model.activated")] == ["success", "success"]


def test_whoever_published_a_model_cannot_activate_it(administrator, publish, hospital, audited):
    digest = publish("own", by=hospital.administrator)
    assert_problem(administrator.post(f"/models/{digest}/activate"), 403, "not_allowed")
    assert [outcome for outcome, _ in audited("model.activated")] == ["refused"]


def test_a_model_is_found_by_the_start_of_its_digest(nurse, administrator, publish, audited):
    digest = publish("first")
    assert nurse.get(f"/models/{digest[:8]}").json["digest"] == digest
    assert_problem(nurse.get("/models/00000000"), 404, "not_found")
    assert_problem(administrator.post(f"/models/{'0' * 64}/activate"), 404, "not_found")
    assert len(audited("model.view")) == 1
