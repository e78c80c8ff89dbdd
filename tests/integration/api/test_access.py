import pytest

from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR, STAFF, Scope
from dermabatch.schema import User
from tests.situations import PASSWORD, TESTS

NEED_A_TOKEN = [
    *("/me", "/batches", "/models", "/models/active", "/audit/events", "/audit/verification"),
    "/images/0190a0a0-0000-7000-8000-000000000000",
]


def assert_problem(answer, status, code):
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    problem = answer.json
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", NEED_A_TOKEN)
def test_nothing_answers_without_a_token(nobody, path):
    answer = nobody.get(path)
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_wrong_token_is_refused_and_recorded(nobody, audited):
    nobody.headers["Authorization"] = "Bearer dbt_guessed"
    assert_problem(nobody.get("/me"), 401, "not_authenticated")
    ((outcome, details),) = audited("access.refused")
    assert outcome == "refused"
    assert details["route"] == "/api/v1/me"
    assert "guessed" not in str(details)


def test_a_signed_in_browser_has_no_access(app, hospital, nobody):
    app.config["WTF_CSRF_ENABLED"] = False
    browser = app.test_client()
    browser.post("/sign-in", data={"email": "nurse@hospital.example", "password": PASSWORD})
    assert browser.get("/account").status_code == 200
    assert_problem(browser.get("/api/v1/me"), 401, "not_authenticated")


def test_me_tells_whom_the_token_acts_for(nurse):
    answer = nurse.get("/me").json
    assert answer["email"] == "nurse@hospital.example"
    assert answer["roles"] == [STAFF]
    assert answer["scopes"] == ["batches:write", "batches:read", "models:read"]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("post", "/batches", "batches:write"),
        ("get", "/batches", "batches:read"),
        ("post", "/models/abcdef/activate", "models:write"),
        ("post", "/models/roll-back", "models:write"),
        ("get", "/audit/events", "audit:read"),
        ("get", "/audit/verification", "audit:read"),
    ],
)
def test_a_token_without_the_scope_is_refused_and_recorded(call_as, hospital, audited, method, path, scope):
    caller = call_as(hospital.nurse, Scope.MODELS_READ)
    answer = getattr(caller, method)(path)
    assert_problem(answer, 403, "not_allowed")
    assert scope in answer.json["detail"]
    ((outcome, details),) = audited("access.refused")
    assert (outcome, details["missing_scope"]) == ("refused", scope)


def test_a_scope_ends_with_the_role_behind_it(sessions, hospital, nurse):
    assert nurse.get("/batches").status_code == 200
    with sessions.begin() as session:
        accounts.set_roles(session, session.get(User, hospital.nurse), [ADMINISTRATOR], actor=TESTS)
    assert_problem(nurse.get("/batches"), 401, "not_authenticated")


def test_what_does_not_exist_is_a_problem_too(nurse):
    assert_problem(nurse.get("/nothing"), 404, "not_found")
    assert_problem(nurse.get("/batches/not-an-id"), 404, "not_found")
