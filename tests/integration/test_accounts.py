from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_security import Security
from flask_security.utils import verify_password

from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR, STAFF, Scope
from dermabatch.errors import Conflict, InvalidRequest, NotAllowed
from dermabatch.schema import ApiToken, User
from tests.situations import PASSWORD, SALT, TESTS, open_hospital
from webui.people import People


@pytest.fixture
def sessions(database):
    return database.sessions("web")


@pytest.fixture
def hospital(sessions):
    return open_hospital(sessions)


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


def test_the_portal_verifies_a_password_hashed_by_the_command_line(sessions, session, nurse):
    app = Flask("portal")
    app.config.update(SECRET_KEY="secret", SECURITY_PASSWORD_SALT=SALT, SECURITY_REGISTER_BLUEPRINT=False)
    Security(app, People(sessions))
    with app.test_request_context():
        assert verify_password(PASSWORD, nurse.password)
        assert not verify_password(PASSWORD + "?", nurse.password)


def test_a_service_principal_has_no_password_and_is_not_found_by_the_portal(sessions, session, hospital):
    installer = session.get(User, hospital.installer)
    assert installer.password is None
    assert People(sessions).find_user(email=installer.email) is None


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


def test_a_token_cannot_carry_more_than_its_owners_roles(session, nurse):
    with pytest.raises(NotAllowed, match="audit:read"):
        new_token(session, nurse, scopes=[Scope.BATCHES_READ, Scope.AUDIT_READ])


def test_a_token_loses_what_its_owner_loses(session, nurse):
    token = accounts.authenticate(session, new_token(session, nurse))
    assert accounts.may_use(token, Scope.BATCHES_READ)
    accounts.set_roles(session, nurse, [ADMINISTRATOR], actor=TESTS)
    assert not accounts.may_use(token, Scope.BATCHES_READ)


def test_disabling_and_a_new_password_end_every_session(session, nurse):
    first = nurse.fs_uniquifier
    accounts.set_password(session, nurse, "another long password", salt=SALT, actor=TESTS)
    second = nurse.fs_uniquifier
    accounts.disable(session, nurse, actor=TESTS)
    assert len({first, second, nurse.fs_uniquifier}) == 3
