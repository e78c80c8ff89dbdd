"""Who may use which route: the whole table, read by `webui.guard` in front of every view.

A route without a line keeps the portal from starting. The table says who gets as far as a view. What a view then finds
is a second wall, in the database: to `department_session` nothing of another department exists.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from dermabatch.accounts import ADMINISTRATOR, STAFF, Scope


@dataclass(frozen=True, slots=True)
class Everybody:
    """Also who has not signed in."""


@dataclass(frozen=True, slots=True)
class People:
    """Whoever has signed in with a browser.

    Attributes:
        roles: one of them is enough; where none is named, every person will do.
        enrolling: also who gave the right password and has to set up a second factor before anything else.
    """

    roles: tuple[str, ...] = ()
    enrolling: bool = False


@dataclass(frozen=True, slots=True)
class Programs:
    """Whoever shows a token; cookies do not count.

    Attributes:
        scope: what the token has to be for, and its owner's roles have to allow (`accounts.ROLES_FOR_SCOPE`); None:
            any token will do.
    """

    scope: Scope | None = None


Rule = Everybody | People | Programs

EVERYBODY: Final = Everybody()
SIGNED_IN: Final = People()
ENROLLING: Final = People(enrolling=True)
FOR_STAFF: Final = People((STAFF,))
FOR_ADMINISTRATORS: Final = People((ADMINISTRATOR,))
FOR_BOTH: Final = People((STAFF, ADMINISTRATOR))

POLICY: Final[Mapping[str, Rule]] = {
    # What there is before anybody has signed in
    "static": EVERYBODY,
    "frame.health": EVERYBODY,
    "frame.choose_theme": EVERYBODY,
    "sign_in.form": EVERYBODY,
    "sign_in.check_password": EVERYBODY,
    "sign_in.code": EVERYBODY,
    "sign_in.check_code": EVERYBODY,
    "sign_in.out": EVERYBODY,
    "api_docs.show": EVERYBODY,
    "api-docs.openapi_json": EVERYBODY,
    # Everybody's own
    "help.index": SIGNED_IN,
    "help.show": SIGNED_IN,
    "account.show": SIGNED_IN,
    "account.change_password": SIGNED_IN,
    "account.sign_out_everywhere": SIGNED_IN,
    "account.end_session": SIGNED_IN,
    "account.create_token": SIGNED_IN,
    "account.revoke_token": SIGNED_IN,
    "second_factor.show": ENROLLING,
    "second_factor.prepare": ENROLLING,
    "second_factor.confirm": ENROLLING,
    "second_factor.renew_codes": SIGNED_IN,
    "second_factor.remove": SIGNED_IN,
    # The work of a department
    "worklist.home": FOR_BOTH,  # who only administers is led on to the trail
    "upload.new": FOR_STAFF,
    "upload.create": FOR_STAFF,
    "upload.sample": FOR_STAFF,
    "batches.index": FOR_STAFF,
    "batch.show": FOR_STAFF,
    "batch.progress": FOR_STAFF,
    "batch.listing": FOR_STAFF,
    "batch.export": FOR_STAFF,
    "batch.cancel": FOR_STAFF,
    "batch.retry": FOR_STAFF,
    "images.show": FOR_STAFF,
    "images.picture": FOR_STAFF,
    "images.thumbnail": FOR_STAFF,
    "images.heat_map": FOR_STAFF,
    # The installation
    "models.index": FOR_BOTH,
    "models.show": FOR_BOTH,
    "models.activate": FOR_ADMINISTRATORS,
    "models.roll_back": FOR_ADMINISTRATORS,
    "audit.search": FOR_ADMINISTRATORS,
    "audit.verify": FOR_ADMINISTRATORS,
    "audit.show": FOR_ADMINISTRATORS,
    "audit.export": FOR_ADMINISTRATORS,
    "system.show": FOR_ADMINISTRATORS,
    "users.index": FOR_ADMINISTRATORS,
    "users.create": FOR_ADMINISTRATORS,
    "users.set_roles": FOR_ADMINISTRATORS,
    "users.set_password": FOR_ADMINISTRATORS,
    "users.disable": FOR_ADMINISTRATORS,
    "users.enable": FOR_ADMINISTRATORS,
    "users.sign_out": FOR_ADMINISTRATORS,
    "users.reset_second_factor": FOR_ADMINISTRATORS,
    "users.forget_guesses": FOR_ADMINISTRATORS,
    # The API
    "Token.show": Programs(),
    "Batches.create": Programs(Scope.BATCHES_WRITE),
    "Batches.index": Programs(Scope.BATCHES_READ),
    "Batches.show": Programs(Scope.BATCHES_READ),
    "Batches.show_results": Programs(Scope.BATCHES_READ),
    "Batches.export": Programs(Scope.BATCHES_READ),
    "Batches.cancel": Programs(Scope.BATCHES_WRITE),
    "Batches.retry": Programs(Scope.BATCHES_WRITE),
    "Images.show": Programs(Scope.BATCHES_READ),
    "Images.thumbnail": Programs(Scope.BATCHES_READ),
    "Images.heat_map": Programs(Scope.BATCHES_READ),
    "Models.index": Programs(Scope.MODELS_READ),
    "Models.active": Programs(Scope.MODELS_READ),
    "Models.show": Programs(Scope.MODELS_READ),
    "Models.activate": Programs(Scope.MODELS_WRITE),
    "Models.roll_back": Programs(Scope.MODELS_WRITE),
    "Audit.index": Programs(Scope.AUDIT_READ),
    "Audit.verification": Programs(Scope.AUDIT_READ),
}
"""By Flask's name of a route: the file in `webui/pages/` (with a capital letter: the part of the API), and its view."""

BRING_FILES: Final = frozenset({"upload.create", "Batches.create"})
"""Routes whose requests may be as large as an upload."""


def demand_complete(routes: Collection[str]) -> None:
    """Compare the table with the routes that there are.

    Raises:
        RuntimeError: a route has no line, or a line no route.
    """
    if without := sorted(set(routes) - set(POLICY)):
        raise RuntimeError(
            f"Expected a line in webui/policy.py for each route. Without one: {', '.join(without)}"
        )
    if idle := sorted(set(POLICY) - set(routes)):
        raise RuntimeError(
            f"Expected a route for each line of webui/policy.py. Without one: {', '.join(idle)}"
        )
