"""Every route, as everybody who may use it and as everybody who may not: one event each, with who, what, whence, how.

`table.py` says which event, `webui/policy.py` who may, and `deeds.py` how to ask.
"""

from collections.abc import Iterator
from http import HTTPStatus
from uuid import uuid4

import pytest

from dermabatch.accounts import ADMINISTRATOR, ROLES_FOR_SCOPE, STAFF, Scope
from dermabatch.audit import Action
from tests.integration.events.deeds import NEW_PASSWORD, Request, deed_of, form, send, who_may
from tests.integration.events.house import Asker, House
from tests.integration.events.table import ROUTES, Leaves, Silent
from tests.situations import PASSWORD
from webui.policy import POLICY, People, Programs

PEOPLE = [name for name, rule in POLICY.items() if isinstance(rule, People)]
PROGRAMS = [name for name, rule in POLICY.items() if isinstance(rule, Programs)]
FOR_ROLES = [name for name in PEOPLE if POLICY[name].roles]
OF_A_DEPARTMENT = ("batch_id", "image_id")
STRANGE = {
    **dict.fromkeys(("batch_id", "image_id", "user_id", "token_id", "session_id"), uuid4()),
    **{"seq": 10**9, "digest": "0" * 64, "topic": "nothing"},
}
"""Values for an address that leads to nothing."""


def arguments(endpoint: str, house: House) -> set[str]:
    return next(rule for rule in house.app.url_map.iter_rules() if rule.endpoint == endpoint).arguments


@pytest.mark.parametrize("endpoint", ROUTES)
def test_what_is_done_leaves_what_the_table_says(house, endpoint):
    request = deed_of(endpoint)(house)
    asker = request.asker or who_may(house, POLICY[endpoint])
    with house.watching() as events:
        answer = send(house, endpoint, request, asker)
        answer.get_data()
    assert answer.status_code < HTTPStatus.BAD_REQUEST, answer.text
    match ROUTES[endpoint]:
        case Silent():
            assert events == []
        case Leaves() as line:
            expected = [line.first, line.action] if line.first else [line.action]
            assert [event["action"] for event in events] == expected
            for event in events:
                assert_is_of(event, answer, asker, in_department=line.in_department)
            assert events[-1]["outcome"] == "success"
            assert_names(events[-1], line, request)


@pytest.mark.parametrize("endpoint", FOR_ROLES)
def test_who_lacks_the_role_leaves_a_refusal(house, endpoint):
    for asker in without(POLICY[endpoint].roles, house):
        answer, event = only_event(house, endpoint, strange(endpoint, house), asker)
        assert answer.status_code == HTTPStatus.FORBIDDEN
        assert (event["action"], event["outcome"]) == ("access.refused", "refused")
        assert event["told"]["route"]
        assert_is_of(event, answer, asker)


@pytest.mark.parametrize("endpoint", PROGRAMS)
def test_a_token_for_something_else_leaves_a_refusal(house, endpoint):
    scope = POLICY[endpoint].scope
    if scope is None:
        return
    other = Scope.BATCHES_READ if scope is Scope.MODELS_READ else Scope.MODELS_READ
    owner = house.hospital.nurse if STAFF in ROLES_FOR_SCOPE[scope] else house.hospital.administrator
    asker = house.program(owner, other)
    answer, event = only_event(house, endpoint, strange(endpoint, house), asker)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert (event["action"], event["outcome"]) == ("access.refused", "refused")
    assert event["told"]["missing_scope"] == scope
    assert_is_of(event, answer, asker)


@pytest.mark.parametrize("endpoint", PROGRAMS)
def test_a_guessed_token_leaves_a_refusal_of_nobody_known(house, endpoint):
    asker = Asker(house.app.test_client(), token="dbt_guessed")
    answer, event = only_event(house, endpoint, strange(endpoint, house), asker)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert (event["action"], event["outcome"]) == ("access.refused", "refused")
    assert (event["actor_kind"], event["actor_id"], event["department_id"]) == ("anonymous", None, None)
    assert "guessed" not in str(event)


@pytest.mark.parametrize("endpoint", [*PEOPLE, *PROGRAMS])
def test_somebody_unknown_sees_nothing_and_leaves_nothing(house, endpoint):
    with house.watching() as events:
        answer = send(house, endpoint, strange(endpoint, house), house.stranger)
    assert answer.status_code in (HTTPStatus.FOUND, HTTPStatus.UNAUTHORIZED)
    assert events == []


@pytest.mark.parametrize("endpoint", [*PEOPLE, *PROGRAMS])
def test_what_there_is_not_leaves_that_it_was_asked_for(house, endpoint):
    if not arguments(endpoint, house):
        return
    asker = who_may(house, POLICY[endpoint])
    answer, event = only_event(house, endpoint, strange(endpoint, house), asker)
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert_came_to_nothing(event, answer, asker)


@pytest.mark.parametrize("endpoint", [*PEOPLE, *PROGRAMS])
def test_what_another_department_has_leaves_that_it_was_asked_for(house, endpoint):
    if not arguments(endpoint, house) & set(OF_A_DEPARTMENT):
        return
    asker = house.other_nurse
    if isinstance(POLICY[endpoint], Programs):
        asker = house.program(house.hospital.other_nurse, POLICY[endpoint].scope)
    request = Request({"batch_id": house.batch, "image_id": house.image})
    answer, event = only_event(house, endpoint, request, asker)
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert_came_to_nothing(event, answer, asker)
    assert event["object_id"] in (str(house.batch), str(house.image))


def _mistakes() -> Iterator[tuple[str, object, int, str, str]]:
    """Route, request, status, action and outcome of what is not done although the person may."""
    vain = (Action.REQUEST_FAILED, "refused")
    guess = (Action.SESSION_REFUSED, "refused")

    yield "upload.create", lambda _: form(), 400, Action.BATCH_UPLOAD, "failed"
    yield "upload.create", lambda _: form(metadata=[(b"no,columns\n", "a.csv")]), 400, *vain
    yield "Batches.create", lambda _: form(queue="express"), 400, *vain
    yield "Batches.index", lambda _: Request({"limit": 10**9}), 422, *vain
    yield "Audit.index", lambda _: Request({"limit": 0}), 422, *vain
    yield "batch.cancel", _cancelled_batch, 409, *vain
    yield "Batches.retry", _cancelled_batch, 409, *vain
    yield "images.picture", _picture_without_bytes, 500, Action.REQUEST_FAILED, "failed"
    yield "users.create", lambda _: form(email="x@hospital.example", password="short"), 404, *vain
    yield "users.create", _known_user, 409, *vain
    yield "users.disable", _oneself, 409, *vain
    yield "users.set_roles", _unknown_role, 400, *vain
    yield "account.create_token", lambda _: form(name="x"), 400, *vain
    yield "account.create_token", lambda _: form(name="x", scopes=["audit:read"]), 403, *vain
    yield "account.change_password", _own(current="guess"), 400, *guess
    yield "account.change_password", _own(current=PASSWORD, new="a", again="b"), 400, *vain
    yield "second_factor.prepare", _own(password="guess"), 400, *guess
    yield "second_factor.remove", _own(password="guess"), 400, *guess
    yield "second_factor.confirm", _own(code="000000"), 404, *vain
    yield "second_factor.confirm", _wrong_code, 400, Action.SECOND_FACTOR_ENROLLED, "refused"
    yield "models.activate", _own_model, 403, Action.MODEL_ACTIVATED, "refused"
    yield "Models.activate", _own_model, 403, Action.MODEL_ACTIVATED, "refused"


def _own(**data):
    return lambda house: form(house.browser(house.new_person(STAFF)), **data)


def _cancelled_batch(house):
    batch = house.new_batch()
    send(house, "batch.cancel", Request({"batch_id": batch}))
    return Request({"batch_id": batch})


def _picture_without_bytes(house):
    request = deed_of("images.thumbnail")(house)
    return Request(request.values)


def _known_user(house):
    email = house.email_of(house.hospital.nurse)
    return form(email=email, name="N", password=NEW_PASSWORD, department="Dermatology", roles=[STAFF])


def _oneself(house):
    return Request({"user_id": house.hospital.administrator})


def _unknown_role(house):
    return Request({"user_id": house.new_person(STAFF)}, {"data": {"roles": ["surgeon"]}})


def _wrong_code(house):
    user = house.new_person(STAFF)
    house.prepare_second_factor(user)
    return form(house.browser(user), code="no code")


def _own_model(house):
    return Request({"digest": house.new_model(published_by=house.hospital.administrator)})


@pytest.mark.parametrize(("endpoint", "ask", "status", "action", "outcome"), [*_mistakes()])
def test_what_cannot_be_done_leaves_that_it_was_tried(house, endpoint, ask, status, action, outcome):
    request = ask(house)
    asker = request.asker or who_may(house, POLICY[endpoint])
    answer, event = only_event(house, endpoint, request, asker)
    assert answer.status_code == status, answer.text
    assert (event["action"], event["outcome"]) == (action, outcome)
    assert event["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("email", ["nurse@hospital.example", "Anna Mustermann"])
def test_a_guessed_password_leaves_one_refusal_of_nobody_known(house, email):
    answer, event = only_event(
        house, "sign_in.check_password", form(email=email, password="guess"), house.stranger
    )
    assert (event["action"], event["outcome"]) == ("session.refused", "refused")
    assert (event["actor_kind"], event["actor_id"]) == ("anonymous", None)
    assert "Mustermann" not in str(event)
    assert event["request_id"] == answer.headers["X-Request-ID"]


def test_a_guessed_code_leaves_one_refusal(house):
    user = house.new_person(STAFF)
    house.enrol(user)
    asker = house.browser(user, complete=False)
    _, event = only_event(house, "sign_in.check_code", form(code="no code"), asker)
    assert (event["action"], event["outcome"], event["object_id"]) == (
        "session.refused",
        "refused",
        str(user),
    )


def test_the_right_password_without_the_second_factor_leaves_one_event(house):
    user = house.new_person(STAFF)
    house.enrol(user)
    request = form(email=house.email_of(user), password=PASSWORD)
    _, event = only_event(house, "sign_in.check_password", request, Asker(house.app.test_client()))
    assert (event["action"], event["outcome"], event["actor_id"]) == ("session.half_way", "success", user)


def test_who_enrols_on_the_way_in_leaves_both_deeds(house):
    user = house.new_person(STAFF)
    code = house.prepare_second_factor(user)
    asker = house.browser(user, complete=False)
    with house.watching() as events:
        send(house, "second_factor.confirm", form(code=code(0)), asker)
    assert [event["action"] for event in events] == ["second_factor.enrolled", "session.sign_in"]


def test_what_no_route_knows_leaves_nothing(house):
    with house.watching() as events:
        for path in ("/nothing", "/static/nothing.css", "/api/v1/nothing"):
            assert house.nurse.ask("GET", path).status_code == HTTPStatus.NOT_FOUND
    assert events == []


def test_who_only_administers_is_led_on_and_leaves_nothing_yet(house):
    with house.watching() as events:
        assert send(house, "worklist.home", Request(), house.administrator).location == "/audit"
    assert events == []


def test_a_form_of_an_earlier_stay_leaves_that_it_was_tried(house):
    house.app.config["WTF_CSRF_ENABLED"] = True
    try:
        answer, event = only_event(house, "account.create_token", form(name="x"), house.nurse)
    finally:
        house.app.config["WTF_CSRF_ENABLED"] = False
    assert event["told"]["code"] == "stale_form"
    assert_came_to_nothing(event, answer, house.nurse)


def test_the_same_upload_twice_is_one_batch_and_two_events(house):
    upload = deed_of("upload.create")(house)
    again = Request(brings={"data": {**upload.brings["data"], "idempotency_key": uuid4().hex}})
    send(house, "upload.create", again)
    _, event = only_event(house, "upload.create", again, house.nurse)
    assert (event["action"], event["told"]["repeated"]) == ("batch.upload", True)


def test_a_revoked_token_revoked_again_is_two_events(house):
    revoke = deed_of("account.revoke_token")(house)
    send(house, "account.revoke_token", revoke)
    _, event = only_event(house, "account.revoke_token", revoke, house.nurse)
    assert (event["action"], event["told"]["repeated"]) == ("token.revoked", True)


@pytest.mark.parametrize("endpoint", ["audit.verify", "Audit.verification"])
def test_a_broken_trail_is_a_verification_that_failed(house, endpoint):
    with house.broken_trail():
        request = Request({"full": "true"}, {"data": {"full": "1"}})
        _, event = only_event(house, endpoint, request, who_may(house, POLICY[endpoint]))
    assert (event["action"], event["outcome"], event["told"]["ok"]) == ("audit.verify", "failed", False)
    assert event["told"]["full"]


def only_event(house: House, endpoint: str, request: Request, asker: Asker):
    """The answer, and the one event that the request has left."""
    with house.watching() as events:
        answer = send(house, endpoint, request, asker)
        answer.get_data()
    assert len(events) == 1, [dict(event) for event in events]
    return answer, events[0]


def strange(endpoint: str, house: House) -> Request:
    return Request({name: STRANGE[name] for name in arguments(endpoint, house)})


def without(roles: tuple[str, ...], house: House) -> Iterator[Asker]:
    yield house.without_roles
    for role, asker in ((STAFF, house.nurse), (ADMINISTRATOR, house.administrator)):
        if role not in roles:
            yield asker


def assert_is_of(event, answer, asker: Asker, *, in_department: bool = True) -> None:
    """Who, from where, in which request."""
    assert (event["actor_kind"], event["actor_id"]) == ("person", asker.id)
    assert event["source"] == "127.0.0.1"
    assert event["request_id"] == answer.headers["X-Request-ID"]
    assert event["department_id"] == (asker.department if in_department else None)


def assert_names(event, line: Leaves, request: Request) -> None:
    """What it was done to."""
    assert event["object_type"] == line.of
    assert (event["object_id"] is None) == (line.of is None)
    named = {name.removesuffix("_id"): value for name, value in request.values.items()}
    if line.of in named:
        assert event["object_id"] == str(named[line.of])


def assert_came_to_nothing(event, answer, asker: Asker) -> None:
    assert (event["action"], event["outcome"]) == ("request.failed", "refused")
    assert event["told"]["status"] == answer.status_code
    assert event["told"]["route"]
    assert event["told"]["code"]
    assert_is_of(event, answer, asker)
