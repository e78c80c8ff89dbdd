import argon2
import pytest

from dermabatch.accounts import passwords
from dermabatch.errors import InvalidRequest

SALT = "a salt"
ABOUT = ("nora.lindqvist@clinic.example", "Nora Lindqvist")


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "1q2w3e4r5t6y",
        "iloveyou1234",
        "trustno1trustno1",
        "aaaaaaaaaaaaaaaa",
        "dermabatch2026",
        "NoraLindqvist1",
        "lindqvist-clinic",
    ],
)
def test_what_is_tried_first_is_refused(password):
    with pytest.raises(InvalidRequest, match="too easy to guess") as refused:
        passwords.hash_password(password, salt=SALT, about=ABOUT)
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    ("password", "message"),
    [("elevenchars", "at least 12 characters. Received: 11"), ("x" * 1001, "at most 1000")],
)
def test_a_wrong_length_is_named(password, message):
    with pytest.raises(InvalidRequest, match=message):
        passwords.hash_password(password, salt=SALT)


def test_a_sentence_of_any_length_and_script_is_taken():
    for password in (
        "correct horse battery",
        "le gypaète plane sur Gavarnie",
        "зелёная ящерица спит",
        "w8 - " * 40,
    ):
        stored = passwords.hash_password(password, salt=SALT)
        assert passwords.password_fits(password, stored, salt=SALT)
        assert not passwords.password_fits(password + " ", stored, salt=SALT)
        assert not passwords.password_fits(password, stored, salt="another salt")


def test_two_ways_to_type_one_letter_are_the_same_password():
    stored = passwords.hash_password("gypa\u00e8te barbu au vent", salt=SALT)
    assert passwords.password_fits("gypae\u0300te barbu au vent", stored, salt=SALT)


def test_nobody_has_no_password():
    assert not passwords.password_fits("nobody", None, salt=SALT)
    assert not passwords.password_fits("", None, salt=SALT)


def test_a_hash_with_former_parameters_is_outdated():
    former = argon2.PasswordHasher(time_cost=1, memory_cost=1024).hash("x")
    assert passwords.is_outdated(former)
    assert not passwords.is_outdated(passwords.hash_of_nobody())
