"""How often may be guessed. Counts stand in PostgreSQL, beside the passwords: without it nobody signs in anyway.

Each place has a count of its own, and a wait that grows with it. Who is known to the account is never held back by
what strangers do (after OWASP, "Slow Down Online Guessing Attacks with Device Cookies"):

- a browser that has signed in as this person before: counted by itself;
- another browser at an address from which this person has signed in: counted by that address, for this account;
- everybody else in the world: counted together, for this account.

All but the first are counted by address as well, over all accounts, against one password tried on many.

An attempt is counted before it is judged, and forgiven if it was right: attempts at the same moment see each other.
"""

import hmac
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch.accounts.devices import Familiarity, familiarity
from dermabatch.accounts.sessions import Origin, token_hash
from dermabatch.accounts.tables import GuessCounter
from dermabatch.errors import TooManyGuesses

_IPV6_PREFIX: Final = 64
"""Bits of an address that one customer of a provider holds: every address below it is theirs."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a wait grows with wrong guesses: none for the first ones, then twice as long after each."""

    free: int
    first_wait: timedelta
    longest_wait: timedelta
    forgets_one_in: timedelta
    """The count itself shrinks by one in this time."""

    def level(self, counted: float, age: timedelta) -> float:
        """What is left of a count after a time."""
        return max(0.0, counted - age / self.forgets_one_in)

    def wait(self, level: float) -> timedelta:
        """How long after the last guess the next one is looked at."""
        over = ceil(level) - self.free
        if over < 0:
            return timedelta(0)
        doubled: int = 2 ** min(over, 30)  # past every limit, and still within what a timedelta can hold
        return min(self.first_wait * doubled, self.longest_wait)


OF_AN_ACCOUNT: Final = Patience(
    free=10,
    first_wait=timedelta(seconds=30),
    longest_wait=timedelta(days=1),
    forgets_one_in=timedelta(days=1),
)
"""However many come, 21 are looked at in the first day and 51 in 30 days. NIST SP 800-63B-4 (3.2.2) allows 100."""

OF_AN_ADDRESS: Final = Patience(
    free=100,
    first_wait=timedelta(seconds=30),
    longest_wait=timedelta(hours=1),
    forgets_one_in=timedelta(minutes=1),
)
"""A clinic of hundreds behind one address mistypes less than once a minute."""


@dataclass(frozen=True, slots=True)
class Place:
    """One count that a guess goes into."""

    key: bytes
    account: bytes | None
    patience: Patience


@dataclass(frozen=True, slots=True)
class Guess:
    """An attempt that was counted."""

    places: tuple[Place, ...]


class _Counter(NamedTuple):
    level: float
    age: timedelta
    """Since its last guess."""


class GuessLimit:
    """Counts guesses at one kind of secret."""

    def __init__(self, pepper: str, secret: str = "password") -> None:  # noqa: S107 - a kind, no password
        """
        Args:
            pepper: keys what is stored of accounts and addresses; `settings.password_salt`.
            secret: `password` or `code`, which are counted apart.
        """
        self._pepper = pepper.encode()
        self._secret = secret

    def count(self, session: Session, email: str, origin: Origin) -> Guess:
        """Count an attempt at this account, whether there is such an account or not.

        Raises:
            TooManyGuesses: it comes too early; nothing is counted.
        """
        guess = Guess(tuple(sorted(self._places(session, email, origin), key=lambda place: place.key)))
        counters = _locked(session, guess)
        levels = {
            place.key: place.patience.level(counters[place.key].level, counters[place.key].age)
            for place in guess.places
        }
        wait = max(place.patience.wait(levels[place.key]) - counters[place.key].age for place in guess.places)
        if wait > timedelta(0):
            raise TooManyGuesses(wait)
        for place in guess.places:
            _store(session, place, levels[place.key] + 1)
        return guess

    def forgive(self, session: Session, guess: Guess) -> None:
        """Take back an attempt that was right, and all wrong ones of the same place before it."""
        for place in guess.places:
            counter = GuessCounter.key == place.key
            if place.account is not None:
                session.execute(sa.delete(GuessCounter).where(counter))
            else:  # Others try from there too.
                less = sa.func.greatest(GuessCounter.level - 1, 0)
                session.execute(sa.update(GuessCounter).where(counter).values(level=less))

    def clear(self, session: Session, email: str) -> None:
        """Forget every guess at an account, from wherever."""
        session.execute(sa.delete(GuessCounter).where(GuessCounter.account == self._account(email)))

    def _places(self, session: Session, email: str, origin: Origin) -> Iterator[Place]:
        account = self._account(email)
        known = familiarity(session, email, origin)
        if known is Familiarity.DEVICE:
            device = token_hash(origin.device or "").hex()
            yield Place(self._key(f"account/{email}/device/{device}"), account, OF_AN_ACCOUNT)
            return
        where = f"address/{origin.address}" if known is Familiarity.ADDRESS else "anywhere"
        yield Place(self._key(f"account/{email}/{where}"), account, OF_AN_ACCOUNT)
        yield Place(self._key(f"address/{_network(origin.address)}"), None, OF_AN_ADDRESS)

    def _account(self, email: str) -> bytes:
        return hmac.digest(self._pepper, f"guesses/{email}".encode(), "sha256")

    def _key(self, place: str) -> bytes:
        return hmac.digest(self._pepper, f"guesses/{self._secret}/{place}".encode(), "sha256")


def forget_old_guesses(session: Session) -> None:
    """Remove counts that have shrunk to nothing. Skips those in use: two sign-ins must not wait for each other."""
    old = (
        sa.select(GuessCounter.key)
        .where(GuessCounter.forgotten_at < sa.func.clock_timestamp())
        .with_for_update(skip_locked=True)
    )
    session.execute(sa.delete(GuessCounter).where(GuessCounter.key.in_(old)))


def _locked(session: Session, guess: Guess) -> dict[bytes, _Counter]:
    """The counts that a guess goes into, made where missing, held until the commit."""
    rows = [{"key": place.key, "account": place.account} for place in guess.places]
    # In the order of their keys, as every other attempt takes them.
    session.execute(insert(GuessCounter).values(rows).on_conflict_do_nothing())
    age = sa.func.clock_timestamp() - GuessCounter.counted_at
    query = (
        sa.select(GuessCounter.key, GuessCounter.level, age)
        .where(GuessCounter.key.in_([place.key for place in guess.places]))
        .order_by(GuessCounter.key)
        .with_for_update()
    )
    return {key: _Counter(level, passed) for key, level, passed in session.execute(query)}


def _store(session: Session, place: Place, level: float) -> None:
    now = sa.func.clock_timestamp()
    session.execute(
        sa.update(GuessCounter)
        .where(GuessCounter.key == place.key)
        .values(level=level, counted_at=now, forgotten_at=now + level * place.patience.forgets_one_in)
    )


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
