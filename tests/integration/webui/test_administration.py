import re

import pytest
import sqlalchemy as sa

from dermabatch import audit, model_store
from dermabatch.audit import Chainer
from dermabatch.triage import Triage
from tests.situations import PASSWORD, TESTS, File, gate_result, person, write_artifact


@pytest.fixture
def chained(database, object_store, settings):
    """Gives every event so far its place in the chain, and signs it."""
    chainer = Chainer(database.sessions("chainer"), object_store, settings.signing_key)

    def _chained():
        while chainer.run_once():
            pass
        chainer.signer.sign()

    return _chained


@pytest.fixture
def publish(sessions, object_store, settings, tmp_path):
    """Publishes a tiny model in the name of a user; returns its digest."""

    def _publish(user_id, name="tiny-2", gate=None):
        model = model_store.publish(
            write_artifact(tmp_path / name, name=name),
            publisher=person(user_id),
            sessions=sessions,
            store=object_store,
            signing_key=settings.signing_key,
            gate=gate,
        )
        return model.digest

    return _publish


def test_the_trail_is_searched_and_the_search_is_an_event(administrator, nurse, submit, chained, audited):
    batch = submit([File("a.jpg", Triage.URGENT, 0.9)])
    nurse.get(f"/batches/{batch}")
    chained()
    page = administrator.get(f"/audit?object={batch}").text
    assert '<td data-label="What">Looked at results</td>' in page
    assert '<td data-label="What">Signed in' not in page
    assert audited("audit.search")[-1][1]["filters"] == ["object"]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("action=session.sign_in", True),
        ("outcome=refused", False),
        ("until=2020-01-01", False),
        ("actor=x", True),
    ],
)
def test_the_trail_is_narrowed_by_a_link(administrator, nurse, chained, query, shown):
    chained()
    page = administrator.get(f"/audit?{query}").text
    assert ('<td data-label="What">Signed in</td>' in page) == shown


def test_an_event_shows_its_hash_and_its_request(administrator, nurse, chained):
    chained()
    seq = re.search(r'href="/audit/events/(\d+)"', administrator.get("/audit").text)[1]
    page = administrator.get(f"/audit/events/{seq}").text
    assert re.search(r"<code>[0-9a-f]{64}</code>", page)
    assert administrator.get("/audit/events/999999").status_code == 404


def test_the_chain_is_verified_at_the_press_of_a_button(administrator, chained, audited):
    chained()
    for form in ({}, {"full": "1"}):
        assert "The chain holds" in administrator.post("/audit/verify", form).text
    assert [details["ok"] for _, details in audited("audit.verify")] == [True, True]


def test_a_changed_event_is_named(administrator, chained, database):
    chained()
    with database.sessions("postgres").begin() as session:
        session.execute(sa.text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
        session.execute(sa.text("UPDATE audit_events SET source = '10.9.9.9' WHERE seq = 2"))
    page = administrator.post("/audit/verify", {"full": "1"}).text
    assert "The chain does not hold" in page
    assert 'href="/audit/events/2"' in page


def test_an_accepted_gap_stands_on_the_page_of_every_verification(
    administrator, chained, sessions, settings, object_store, database
):
    chained()
    with database.sessions("postgres").begin() as session:
        session.execute(sa.text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
        session.execute(sa.text("DELETE FROM audit_events WHERE seq > 1"))
    with sessions.begin(auditor=True) as session:
        restored = audit.find_restored(session, object_store, settings.verify_key)
        audit.accept_restored(
            session,
            object_store,
            restored,
            signing_key=settings.signing_key,
            actor=TESTS,
            reason="the <b>disk</b> failed",
        )
    for form in ({}, {"full": "1"}):
        page = administrator.post("/audit/verify", form).text
        assert "The chain holds" in page
        assert "were lost when a backup was restored" in page
        assert "the &lt;b&gt;disk&lt;/b&gt; failed" in page


def test_the_trail_is_exported_as_a_file(administrator, chained):
    chained()
    lines = administrator.get("/audit/export.jsonl").data.splitlines()
    assert b"dermabatch-audit-export" in lines[0]
    assert len(lines) > 2


def test_an_export_that_is_broken_off_is_in_the_trail_all_the_same(administrator, chained, audited):
    chained()
    answer = administrator.get("/audit/export.jsonl", buffered=False)
    next(answer.response)
    answer.close()
    assert audited("audit.export")


def test_nothing_signed_yet_is_said_instead_of_an_empty_export(administrator):
    assert administrator.get("/audit/export.jsonl").status_code == 409


def test_a_second_person_activates_a_model_and_everybody_sees_who(administrator, nurse, publish, hospital):
    digest = publish(hospital.installer)
    assert administrator.post(f"/models/{digest}/activate").status_code == 302
    page = nurse.get("/models").text
    assert "active" in page
    assert "Admin" in page


def test_who_published_a_model_is_offered_no_button_and_refused_without(
    administrator, publish, hospital, audited
):
    digest = publish(hospital.administrator)
    assert "another administrator has to activate it" in administrator.get(f"/models/{digest}").text
    assert administrator.post(f"/models/{digest}/activate").status_code == 403
    assert [outcome for outcome, _ in audited("model.activated")] == ["refused"]


def test_a_model_that_failed_its_gate_shows_why_and_no_administrator_activates_it(
    administrator, publish, hospital
):
    serving = publish(hospital.installer, "tiny-1")
    administrator.post(f"/models/{serving}/activate")
    digest = publish(hospital.installer, gate=gate_result(passed=False, active=serving))
    page = administrator.get(f"/models/{digest}").text
    assert "BMA 0.800 after 0.800" in page
    assert serving[:12] in page
    assert "Activate this model" not in page
    assert administrator.post(f"/models/{digest}/activate").status_code == 409


def test_whoever_activates_sees_whether_the_gate_was_asked(administrator, publish, hospital):
    digest = publish(hospital.installer)
    assert "The gate was not asked" in administrator.get(f"/models/{digest}").text
    publish(hospital.installer, gate=gate_result(passed=True))
    page = administrator.get(f"/models/{digest}").text
    assert "The gate was not asked" not in page
    assert "Activate this model" in page


def test_one_person_may_return_to_the_model_before(administrator, publish, hospital):
    first, second = publish(hospital.installer, "tiny-2"), publish(hospital.installer, "tiny-3")
    for digest in (first, second):
        administrator.post(f"/models/{digest}/activate")
    assert administrator.post("/models/roll-back").location == f"/models/{first}"


def test_staff_read_models_and_change_none(nurse, publish, hospital):
    digest = publish(hospital.installer)
    page = nurse.get(f"/models/{digest}")
    assert "card.md of tiny-2" in page.text
    assert "0 epochs, seed 1<" in page.text
    assert "Activate this model" not in page.text
    assert nurse.post(f"/models/{digest}/activate").status_code == 403


def test_it_is_known_which_model_served_at_a_moment(administrator, publish, hospital):
    administrator.post(f"/models/{publish(hospital.installer)}/activate")
    assert "No model served then" in administrator.get("/models?at=2020-01-01T00:00").text
    assert (
        "since" in administrator.get("/models?at=2099-01-01T00:00").text.partition("Which model served at")[2]
    )


def test_an_administrator_adds_a_person_who_then_signs_in(administrator, stranger, audited):
    form = {
        "name": "Ida Holm",
        "email": "ida@hospital.example",
        "password": PASSWORD,
        "department": "Dermatology",
        "roles": ["staff"],
    }
    assert administrator.post("/users", form).status_code == 302
    assert "Ida Holm" in administrator.get("/users").text
    assert stranger.sign_in("ida@hospital.example").location == "/"
    assert audited("user.created")


def test_a_short_first_password_is_refused(administrator):
    form = {"name": "X", "email": "x@hospital.example", "password": "short", "department": "Dermatology"}
    answer = administrator.post("/users", form)
    assert answer.status_code == 400
    assert "at least 12 characters" in answer.text


def test_roles_are_given_and_taken(administrator, signed_in, hospital):
    administrator.post(f"/users/{hospital.nurse}/roles", {"roles": ["administrator"]})
    nurse = signed_in("nurse@hospital.example")
    assert nurse.get("/audit").status_code == 200
    assert nurse.get("/batches").status_code == 403


@pytest.mark.parametrize("change", ["roles", "disable"])
def test_nobody_takes_the_last_key_from_themselves(administrator, hospital, change):
    assert administrator.post(f"/users/{hospital.administrator}/{change}").status_code == 409
    assert administrator.get("/users").status_code == 200


def test_a_disabled_person_is_let_in_again(administrator, stranger, hospital):
    administrator.post(f"/users/{hospital.nurse}/disable")
    assert stranger.sign_in("nurse@hospital.example").status_code == 200
    administrator.post(f"/users/{hospital.nurse}/enable")
    assert stranger.sign_in("nurse@hospital.example").status_code == 302


def test_a_forgotten_password_is_replaced(administrator, stranger, hospital):
    administrator.post(f"/users/{hospital.nurse}/password", {"password": "a new sentence"})
    assert stranger.sign_in("nurse@hospital.example", "a new sentence").status_code == 302


def test_a_token_is_shown_once_and_works_until_it_is_revoked(nurse):
    made = nurse.post("/account/tokens", {"name": "Camera", "scopes": ["batches:read"], "days": "30"}).text
    secret = re.search(r"dbt_[\w-]+", made)[0]
    assert secret not in nurse.get("/account").text
    call = {"path": "/api/v1/batches", "headers": {"Authorization": f"Bearer {secret}"}}
    assert nurse.client.get(**call).status_code == 200
    revoke = re.search(r"/account/tokens/[0-9a-f-]+/revoke", nurse.get("/account").text)[0]
    nurse.post(revoke)
    assert nurse.client.get(**call).status_code == 401


def test_nobody_revokes_the_token_of_another(nurse, other_nurse):
    nurse.post("/account/tokens", {"name": "Camera", "scopes": ["batches:read"]})
    revoke = re.search(r"/account/tokens/[0-9a-f-]+/revoke", nurse.get("/account").text)[0]
    assert other_nurse.post(revoke).status_code == 404


def test_the_system_page_adds_every_file_up(administrator, submit):
    submit([File("a.jpg", Triage.URGENT, 0.9), File("b.jpg"), File("c.docx", reason="not an image")])
    page = administrator.get("/system").text
    assert "1 classified + 0 cannot be assessed + 1 left out + 0 failed + 0 cancelled + 1 waiting" in page
    assert "Difference 0" in page


def test_help_has_a_page_for_every_task(nurse):
    topics = re.findall(r'href="(/help/[a-z]+)"', nurse.get("/help").text)
    assert len(topics) >= 9
    for topic in topics:
        assert nurse.get(topic).status_code == 200
    assert nurse.get("/help/nothing").status_code == 404
    assert "squamous" in nurse.get("/help/limits").text
