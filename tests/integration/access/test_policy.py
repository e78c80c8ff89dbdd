"""Every route by everybody: the answer is as `webui.policy` says, and the policy says what it should."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from dermabatch.accounts import ADMINISTRATOR, STAFF, Scope
from dermabatch.accounts.tables import WebSession
from dermabatch.schema import ApiToken
from tests.integration.access.conftest import OF_ADMINISTRATORS, OF_STAFF
from tests.situations import PASSWORD
from webui import policy
from webui.policy import POLICY, People, Programs

PAST = datetime(2020, 1, 1, tzinfo=UTC)

# How each line of the policy is meant, in the names of `visitors` below.
PEOPLE = {
    "person without a role",
    "nurse",
    "nurse of another department",
    "administrator",
    "nurse who administers",
}
NURSES = {"nurse", "nurse of another department", "nurse who administers"}
ADMINISTRATORS = {"administrator", "nurse who administers"}
TOKENS = {
    *("token of a nurse", "token of another department", "token of an administrator"),
    *("token for batches:write", "token for batches:read", "token for models:read"),
    *("token for models:write", "token for audit:read", "token of who lost the role"),
}
MEANT = {
    policy.SIGNED_IN: PEOPLE,
    policy.ENROLLING: PEOPLE | {"half way, without a second factor"},
    policy.FOR_STAFF: NURSES,
    policy.FOR_ADMINISTRATORS: ADMINISTRATORS,
    policy.FOR_BOTH: NURSES | ADMINISTRATORS,
    Programs(): TOKENS,
    Programs(Scope.BATCHES_WRITE): {
        *("token of a nurse", "token of another department", "token for batches:write")
    },
    Programs(Scope.BATCHES_READ): {
        *("token of a nurse", "token of another department", "token for batches:read")
    },
    Programs(Scope.MODELS_READ): {
        *(
            "token of a nurse",
            "token of another department",
            "token of an administrator",
            "token for models:read",
        )
    },
    Programs(Scope.MODELS_WRITE): {*("token of an administrator", "token for models:write")},
    Programs(Scope.AUDIT_READ): {*("token of an administrator", "token for audit:read")},
}
FROM_ANOTHER_DEPARTMENT = {"nurse of another department", "token of another department"}

# The table once more, by hand, where a slip in it would hurt most.
BY_HAND = [
    ("nobody", "GET /", "sign in"),
    ("nobody", "GET /batches/<uuid:batch_id>/results.csv", "sign in"),
    ("nobody", "GET /healthz", "in"),
    ("nobody", "POST /api/v1/batches", "401"),
    ("nobody", "GET /api/v1/batches/<uuid:batch_id>/results", "401"),
    ("nurse", "GET /audit", "403"),
    ("nurse", "GET /audit/export.jsonl", "403"),
    ("nurse", "POST /users/<uuid:user_id>/roles", "403"),
    ("nurse", "POST /models/<digest>/activate", "403"),
    ("nurse", "GET /images/<uuid:image_id>/picture.jpg", "in"),
    ("nurse", "GET /api/v1/images/<uuid:image_id>", "401"),
    ("person without a role", "GET /batches", "403"),
    ("person without a role", "GET /models", "403"),
    ("person without a role", "GET /account", "in"),
    ("administrator", "GET /images/<uuid:image_id>", "403"),
    ("administrator", "POST /batches", "403"),
    ("administrator", "POST /users/<uuid:user_id>/disable", "in"),
    ("nurse of another department", "POST /batches/<uuid:batch_id>/cancel", "404"),
    ("nurse of another department", "GET /images/<uuid:image_id>/picture.jpg", "404"),
    ("disabled nurse", "GET /account", "sign in"),
    ("half way", "GET /batches", "sign in"),
    ("half way", "POST /account/second-factor/prepare", "give the code"),
    ("half way, without a second factor", "POST /account/second-factor/remove", "sign in"),
    ("token of a nurse", "GET /batches", "sign in"),
    ("token of a nurse", "GET /api/v1/audit/events", "403"),
    ("token of another department", "POST /api/v1/batches/<uuid:batch_id>/retry", "404"),
    ("token of an administrator", "GET /api/v1/batches", "403"),
    ("token of an administrator", "POST /api/v1/models/roll-back", "in"),
    ("token for batches:read", "POST /api/v1/batches", "403"),
    ("token for models:read", "POST /api/v1/models/<digest>/activate", "403"),
    ("ended token", "GET /api/v1/me", "401"),
    ("revoked token", "GET /api/v1/me", "401"),
    ("token of who lost the role", "GET /api/v1/batches", "403"),
]


@dataclass(frozen=True)
class Visitor:
    """Somebody who asks, and what they bring with each request."""

    user: UUID | None
    cookie: Callable[[], str] | None = None
    token: str | None = None


@pytest.fixture(scope="module")
def visitors(house):
    """Everybody by name. Stays begin anew with each request, because some routes end them."""

    def staying(user, **changes):
        return Visitor(user, cookie=lambda: house.stay(user, **changes))

    def signed_out(user):
        cookie = house.stay(user)
        house.behind("DELETE FROM web_sessions WHERE user_id = :user", user=user)
        return cookie

    def program(user, *scopes, **changes):
        return Visitor(user, token=house.token(user, *scopes, **changes))

    def without_their_role(user, name):
        house.behind(
            "DELETE FROM users_roles USING roles WHERE role_id = roles.id AND user_id = :user AND name = :name",
            user=user,
            name=name,
        )

    def disable(user):
        house.behind("UPDATE users SET active = false WHERE id = :user", user=user)

    nurse = house.person("matrix-nurse", STAFF)
    administrator = house.person("matrix-admin", ADMINISTRATOR)
    elsewhere = house.person("matrix-other", STAFF, department=house.hospital.other_department)
    disabled, demoted = house.person("matrix-disabled", STAFF), house.person("matrix-demoted", STAFF)
    with_second_factor = house.person("matrix-second", STAFF)
    house.second_factor(with_second_factor)
    everybody = {
        "nobody": Visitor(None),
        "person without a role": staying(house.person("matrix-nothing")),
        "nurse": staying(nurse),
        "nurse who administers": staying(house.person("matrix-both", STAFF, ADMINISTRATOR)),
        "administrator": staying(administrator),
        "nurse of another department": staying(elsewhere),
        "disabled nurse": staying(disabled),
        "nurse whose stay has ended": staying(nurse, ends_at=PAST),
        "nurse whose stay fell idle": staying(nurse, seen_at=datetime.now(UTC) - timedelta(minutes=61)),
        "nurse who was signed out": Visitor(nurse, cookie=lambda: signed_out(house.hospital.nurse)),
        "half way": staying(with_second_factor, complete=False),
        "half way, without a second factor": staying(nurse, complete=False),
        "guessed cookie": Visitor(None, cookie=lambda: "guessed"),
        "token of a nurse": program(nurse, *OF_STAFF),
        "token of an administrator": program(administrator, *OF_ADMINISTRATORS),
        "token of another department": program(elsewhere, *OF_STAFF),
        **{f"token for {scope}": program(nurse, scope) for scope in OF_STAFF},
        **{f"token for {scope}": program(administrator, scope) for scope in OF_ADMINISTRATORS[1:]},
        "token of who lost the role": program(demoted, *OF_STAFF),
        "token of a disabled nurse": program(disabled, *OF_STAFF),
        "ended token": program(nurse, *OF_STAFF, expires_at=PAST),
        "revoked token": program(nurse, *OF_STAFF, revoked_at=PAST),
        "guessed token": Visitor(None, token="dbt_guessed"),
    }
    disable(disabled)
    without_their_role(demoted, STAFF)
    return everybody


NAMES = (
    *("nobody", "person without a role", "nurse", "nurse who administers", "administrator"),
    *(
        "nurse of another department",
        "disabled nurse",
        "nurse whose stay has ended",
        "nurse whose stay fell idle",
    ),
    *("nurse who was signed out", "half way", "half way, without a second factor", "guessed cookie"),
    *("token of a nurse", "token of an administrator", "token of another department"),
    *(f"token for {scope}" for scope in Scope),
    *(
        "token of who lost the role",
        "token of a disabled nurse",
        "ended token",
        "revoked token",
        "guessed token",
    ),
)


class Door:
    """Where a visitor knocks, route by route."""

    def __init__(self, house, filled, visitor):
        self._house, self._filled, self._visitor = house, filled, visitor
        self._address = f"2001:db8::{secrets.token_hex(2)}"
        self._client = house.app.test_client()
        self._somebody = house.person(f"target-{uuid4().hex}", STAFF)
        house.second_factor(self._somebody)

    def routes(self):
        """`GET /batches` and the name of the route, for each."""
        for rule in self._house.app.url_map.iter_rules():
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield f"{method} {rule.rule}", rule.endpoint

    def knock(self, route, **values):
        """Ask; what the address names is there unless said otherwise."""
        method, _, pattern = route.partition(" ")
        names = re.findall(r"<(?:[a-z]+:)?(\w+)>", pattern)
        known = {**self._things(names), **values}
        path = re.sub(r"<(?:[a-z]+:)?(\w+)>", lambda found: str(known[found[1]]), pattern)
        self._client.delete_cookie("sign-in")
        if self._visitor.cookie:
            self._client.set_cookie("sign-in", self._visitor.cookie())
        form = {"password": PASSWORD, "department": "Dermatology", "email": f"{uuid4().hex}@hospital.example"}
        return self._client.open(
            self._with_ticket(path),
            method=method,
            headers=self._headers(),
            data=form if method == "POST" else None,
            buffered=True,  # to the end of what is streamed
            environ_base={
                "REMOTE_ADDR": self._address
            },  # of each visitor's own: nobody waits for another's guesses
        )

    def _things(self, names):
        made = {
            "batch_id": lambda: self._filled.batch,
            "image_id": lambda: self._filled.images[0],
            "user_id": lambda: self._somebody,
            "digest": lambda: "ab" * 32,
            "seq": lambda: 1,
            "topic": lambda: "upload",
            "filename": lambda: "portal.css",
            "session_id": lambda: self._own(WebSession, self._house.stay),
            "token_id": lambda: self._own(ApiToken, self._token_without_a_scope),
        }
        return {name: made[name]() for name in names}

    def _own(self, table, make):
        """The id of a new row that belongs to the visitor."""
        user = self._visitor.user or self._somebody
        make(user)
        with self._house.sessions.begin() as session:
            return session.scalars(
                sa.select(table.id).where(table.user_id == user).order_by(table.id.desc())
            ).first()

    def _token_without_a_scope(self, user):
        self._house.behind(
            "INSERT INTO api_tokens (id, user_id, name, token_hash, scopes)"
            " VALUES (uuidv7(), :user, 'matrix', uuid_send(gen_random_uuid()), '{}')",
            user=user,
        )

    def _with_ticket(self, path):
        """Pictures are given to whom their page was shown; the query of a heat map names a class."""
        page, _, picture = path.rpartition("/")
        if not re.fullmatch(r"(picture|thumbnail|heat-map)\.\w+", picture):
            return path
        ticket = re.search(r"ticket=(\w+)", self._client.get(page, headers=self._headers()).text)
        return f"{path}?class=mel&ticket={ticket[1] if ticket else 'none'}"

    def _headers(self):
        return {"Authorization": f"Bearer {self._visitor.token}"} if self._visitor.token else {}


@pytest.fixture
def door(house, here, visitors, monkeypatch):
    # Forms have tests of their own; here nobody is to fail for want of one.
    monkeypatch.setitem(house.app.config, "WTF_CSRF_ENABLED", False)
    return lambda name: Door(house, here, visitors[name])


def outcome(answer):
    """What became of the visitor: in, or how they were turned away."""
    location = answer.headers.get("Location", "")
    if answer.status_code == 302 and location.startswith("/sign-in?next="):
        return "sign in"
    if answer.status_code == 302 and location.startswith("/sign-in/code"):
        return "give the code"
    if answer.status_code < 400 or answer.status_code in (400, 409, 422):
        return "in"
    return str(answer.status_code)


def expected(name, rule, route):
    """How the policy's line is meant for this visitor."""
    if rule == policy.EVERYBODY:
        return "in"
    if name in MEANT[rule]:
        foreign = name in FROM_ANOTHER_DEPARTMENT and re.search(r"<uuid:(batch|image)_id>", route)
        return "404" if foreign else "in"
    if isinstance(rule, Programs):
        return "403" if name in TOKENS else "401"
    if name in PEOPLE:
        return "403"
    return "give the code" if name == "half way" and rule == policy.ENROLLING else "sign in"


@pytest.mark.parametrize("name", NAMES)
def test_every_route_answers_everybody_as_the_policy_says(door, name):
    knocking = door(name)
    answers = {
        route: (outcome(knocking.knock(route)), expected(name, POLICY[endpoint], route))
        for route, endpoint in knocking.routes()
    }
    assert len(answers) > 60
    assert {route: pair for route, pair in answers.items() if pair[0] != pair[1]} == {}


def test_nobody_is_left_out(visitors):
    assert set(visitors) == set(NAMES)
    assert set(POLICY.values()) - {policy.EVERYBODY} <= set(MEANT)


@pytest.mark.parametrize(("name", "route", "turned"), BY_HAND)
def test_the_policy_says_what_it_should(door, name, route, turned):
    assert outcome(door(name).knock(route)) == turned


@pytest.mark.parametrize("name", sorted(FROM_ANOTHER_DEPARTMENT))
def test_what_another_department_owns_answers_like_what_does_not_exist(door, name):
    knocking = door(name)
    routes = [route for route, _ in knocking.routes() if re.search(r"<uuid:(batch|image)_id>", route)]
    assert len(routes) > 15
    for route in routes:
        missing = knocking.knock(route, batch_id=uuid4(), image_id=uuid4())
        assert said(knocking.knock(route)) == said(missing), route


def said(answer):
    """An answer without what is different in each: identifiers, tokens of forms, signed cookies."""
    return answer.status_code, re.sub(r"[0-9a-f]{8}-?[0-9a-f-]{12,27}|value=\"[^\"]+\"", "…", answer.text)


def test_a_new_route_without_a_line_keeps_the_portal_from_starting():
    with pytest.raises(RuntimeError, match=r"Without one: secret\.door"):
        policy.demand_complete([*POLICY, "secret.door"])


def test_a_line_without_a_route_does_too():
    with pytest.raises(RuntimeError, match=r"Without one: users\.index"):
        policy.demand_complete(set(POLICY) - {"users.index"})


def test_the_portal_compares_its_routes_with_the_policy_as_it_starts(house, monkeypatch):
    monkeypatch.setattr(
        policy, "POLICY", {name: rule for name, rule in POLICY.items() if name != "batch.export"}
    )
    with pytest.raises(RuntimeError, match=r"batch\.export"):
        house.open()


def test_people_and_programs_share_no_route():
    assert {type(rule) for name, rule in POLICY.items() if name[0].isupper()} == {Programs}
    assert Programs not in {type(rule) for name, rule in POLICY.items() if not name[0].isupper()}
    assert all(
        set(rule.roles) <= {STAFF, ADMINISTRATOR} for rule in POLICY.values() if isinstance(rule, People)
    )
