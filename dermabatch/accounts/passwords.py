"""Passwords: which are taken, how they are kept, how they are compared."""

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Final

import argon2
from argon2.exceptions import VerifyMismatchError
from zxcvbn import zxcvbn

from dermabatch.errors import InvalidRequest

MIN_PASSWORD_LENGTH: Final = 12
"""In characters. OWASP ASVS 5.0 (6.2.1) demands 8 and recommends 15."""

MAX_PASSWORD_LENGTH: Final = 1000
"""In characters: more than anybody types, and little to hash."""

_ENOUGH_GUESSES: Final = 10**8
"""What zxcvbn has to estimate (its score 3): beyond its lists of leaked passwords, words and names and what people
make of them. Online an attacker has some hundred guesses (`guessing`); this is for a stolen database."""

_LOOKED_AT: Final = 72
"""Characters that are judged: zxcvbn takes no more."""

_OF_THIS_SYSTEM: Final = ("dermabatch", "dermatology", "dermatologie", "dermatoscopy", "melanoma", "hospital")

# The parameters are argon2-cffi's, those of RFC 9106 for 64 MiB.
_HASHER: Final = argon2.PasswordHasher()


def hash_password(password: str, *, salt: str, about: Iterable[str] = ()) -> str:
    """Judge a password, and hash it: argon2id over base64(HMAC-SHA512(salt, NFKD(password))).

    Args:
        password: as the person types it.
        salt: `settings.password_salt`. It is in no backup of the database, so that the hashes alone are worth nothing.
        about: what others know of the person, such as name and address.

    Raises:
        InvalidRequest: too short, too long, or among those that are tried first. The message says which.
    """
    _judge(password, about)
    return _HASHER.hash(_keyed(password, salt))


def password_fits(password: str, stored: str | None, *, salt: str) -> bool:
    """Whether this is the password behind a stored hash. It takes as long where there is none."""
    try:
        return _HASHER.verify(stored or hash_of_nobody(), _keyed(password, salt)) and stored is not None
    except VerifyMismatchError:
        return False


def is_outdated(stored: str) -> bool:
    """Whether a hash was made with parameters that are no longer ours."""
    return _HASHER.check_needs_rehash(stored)


def rehash(password: str, *, salt: str) -> str:
    """The hash of a password that was taken before, with the parameters of today."""
    return _HASHER.hash(_keyed(password, salt))


@cache
def hash_of_nobody() -> str:
    """Compared with where an address has no account. Made ahead, so that the first such answer is no slower."""
    return _HASHER.hash(base64.b64encode(b"nobody"))


def _keyed(password: str, salt: str) -> bytes:
    normalized = unicodedata.normalize("NFKD", password)
    return base64.b64encode(hmac.digest(salt.encode(), normalized.encode(), hashlib.sha512))


def _judge(password: str, about: Iterable[str]) -> None:
    length = len(password)
    if not MIN_PASSWORD_LENGTH <= length <= MAX_PASSWORD_LENGTH:
        bound = (
            f"at least {MIN_PASSWORD_LENGTH}"
            if length < MIN_PASSWORD_LENGTH
            else f"at most {MAX_PASSWORD_LENGTH}"
        )
        raise InvalidRequest(f"Expected a password of {bound} characters. Received: {length}")
    known = {
        *_OF_THIS_SYSTEM,
        *(word.lower() for text in about for word in re.split(r"\W+", text) if len(word) > 2),
    }
    # What everybody knows adds nothing: `NoraLindqvist1` is as good as `1`. zxcvbn knows them in disguise (`N0r4`).
    rest = re.sub("|".join(sorted(known, key=len, reverse=True)), "", password, flags=re.IGNORECASE)
    if not rest or zxcvbn(rest[:_LOOKED_AT], user_inputs=sorted(known))["guesses"] < _ENOUGH_GUESSES:
        raise InvalidRequest(
            "This password is too easy to guess: it is on lists of stolen passwords, or made of what such lists, the"
            " keyboard or your own name and address suggest. Four words that have nothing to do with each other are"
            " a good one."
        )
