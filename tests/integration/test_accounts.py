from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR, STAFF, Scope
from dermabatch.errors import Conflict, InvalidRequest, NotAllowed
from dermabatch.schema import ApiToken, User
from tests.situations import PASSWORD, SALT, TESTS


@pytest.fixture
def session(sessions):
    with sessions.begin() as session:
        yield session


@pytest.fixture
def nurse(session, hospital):
    return session.get(User, hospital.nurse)


def new_token(session, user, *, scopes=(Scope.BATCHES_READ,), expires_at=None):
    return accounts.create_token(
        session, user, name="test", scopes=scopes, expires_at=expires_at, actor=TESTS
    )


def test_bootstrap_may_be_repeated(sessions):
    assert accounts.bootstrap(sessions, source="tests") == accounts.bootstrap(sessions, source="tests")


def test_a_service_principal_has_no_password(session, hospital):
    assert session.get(User, hospital.installer).password is None


def test_an_address_is_taken_in_any_spelling(session, nurse):
    with pytest.raises(Conflict, match=r"nurse@hospital\.example"):
        accounts.create_user(
            session,
            email=" Nurse@Hospital.example ",
            name="Second",
            password=PASSWORD,
            roles=[STAFF],
            department=nurse.department,
            salt=SALT,
            actor=TESTS,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"email": "no address"}, "Expected an e-mail address"),
        ({"roles": ["surgeon"]}, "Received: surgeon"),
        ({"password": "short"}, "at least 12 characters"),
    ],
)
def test_a_wrong_user_is_refused(session, nurse, change, message):
    right = {"email": "new@hospital.example", "password": PASSWORD, "roles": [STAFF]}
    with pytest.raises(InvalidRequest, match=message):
        accounts.create_user(
            session, name="New", department=nurse.department, salt=SALT, actor=TESTS, **right | change
        )


def test_a_token_authenticates_its_owner_and_only_its_hash_is_stored(session, nurse):
    secret = new_token(session, nurse)
    token = accounts.authenticate(session, secret)
    assert token.user is nurse
    assert token.last_used_at is not None
    assert secret.startswith("dbt_")
    assert secret.encode() not in token.token_hash
    assert len(token.token_hash) == 32


def test_a_guessed_secret_authenticates_nobody(session, nurse):
    secret = new_token(session, nurse)
    assert accounts.authenticate(session, secret[:-1]) is None
    assert accounts.authenticate(session, "") is None


def test_a_revoked_token_is_refused(session, nurse):
    secret = new_token(session, nurse)
    accounts.revoke_token(session, accounts.list_tokens(session, nurse)[0], actor=TESTS)
    assert accounts.authenticate(session, secret) is None


def test_an_ended_token_is_refused(session, nurse):
    secret = new_token(session, nurse, expires_at=datetime.now(UTC) + timedelta(hours=1))
    session.execute(sa.update(ApiToken).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert accounts.authenticate(session, secret) is None


def test_a_token_of_a_disabled_user_is_refused(session, nurse):
    secret = new_token(session, nurse)
    accounts.disable(session, nurse, actor=TESTS)
    assert accounts.authenticate(session, secret) is None


def test_a_token_that_was_revoked_with_its_owners_rights_does_not_come_back_with_them(session, nurse):
    for shut_out, let_in in (
        (
            lambda: accounts.disable(session, nurse, actor=TESTS),
            lambda: accounts.enable(session, nurse, actor=TESTS),
        ),
        (
            lambda: accounts.set_roles(session, nurse, [ADMINISTRATOR], actor=TESTS),
            lambda: accounts.set_roles(session, nurse, [STAFF], actor=TESTS),
        ),
    ):
        secret = new_token(session, nurse)
        shut_out()
        let_in()
        assert accounts.authenticate(session, secret) is None


def test_a_token_outlives_a_change_of_roles_that_still_allow_it(session, nurse):
    secret = new_token(session, nurse)
    accounts.set_roles(session, nurse, [STAFF, ADMINISTRATOR], actor=TESTS)
    assert accounts.authenticate(session, secret) is not None


def test_a_token_cannot_carry_more_than_its_owners_roles(session, nurse):
    with pytest.raises(NotAllowed, match="audit:read"):
        new_token(session, nurse, scopes=[Scope.BATCHES_READ, Scope.AUDIT_READ])


def test_a_token_gives_nothing_that_its_owner_has_lost(session, nurse):
    token = accounts.authenticate(session, new_token(session, nurse))
    assert accounts.may_use(token, Scope.BATCHES_READ)
    accounts.set_roles(session, nurse, [ADMINISTRATOR], actor=TESTS)
    assert not accounts.may_use(token, Scope.BATCHES_READ)
