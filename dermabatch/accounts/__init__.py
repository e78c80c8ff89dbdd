"""Departments, people, service principals; how people sign in; the tokens with which programs act for people.

Every function that takes a session works inside the caller's transaction and leaves its audit event there.
"""

from dermabatch.accounts.bootstrap import INSTALLER, NIGHT_RUN, TRAINER, bootstrap
from dermabatch.accounts.departments import create_department, find_department
from dermabatch.accounts.guessing import GuessLimit
from dermabatch.accounts.passwords import MIN_PASSWORD_LENGTH, hash_password
from dermabatch.accounts.people import (
    actor_for,
    create_service,
    create_user,
    disable,
    enable,
    find_actor,
    find_user,
    forget_guesses,
    list_users,
    reset_second_factor,
    set_password,
    set_roles,
)
from dermabatch.accounts.roles import ADMINISTRATOR, ROLES, STAFF, has_role
from dermabatch.accounts.sessions import (
    Origin,
    SessionLimits,
    end_session,
    end_sessions,
    find_session,
    list_sessions,
)
from dermabatch.accounts.signing_in import (
    Opened,
    SignInRules,
    complete,
    confirm_password,
    give_code,
    renew,
    sign_in,
)
from dermabatch.accounts.tokens import (
    ROLES_FOR_SCOPE,
    TOKEN_PREFIX,
    Scope,
    authenticate,
    create_token,
    list_tokens,
    may_use,
    revoke_token,
)

__all__ = [
    "ADMINISTRATOR",
    "INSTALLER",
    "MIN_PASSWORD_LENGTH",
    "NIGHT_RUN",
    "ROLES",
    "ROLES_FOR_SCOPE",
    "STAFF",
    "TOKEN_PREFIX",
    "TRAINER",
    "GuessLimit",
    "Opened",
    "Origin",
    "Scope",
    "SessionLimits",
    "SignInRules",
    "actor_for",
    "authenticate",
    "bootstrap",
    "complete",
    "confirm_password",
    "create_department",
    "create_service",
    "create_token",
    "create_user",
    "disable",
    "enable",
    "end_session",
    "end_sessions",
    "find_actor",
    "find_department",
    "find_session",
    "find_user",
    "forget_guesses",
    "give_code",
    "has_role",
    "hash_password",
    "list_sessions",
    "list_tokens",
    "list_users",
    "may_use",
    "renew",
    "reset_second_factor",
    "revoke_token",
    "set_password",
    "set_roles",
    "sign_in",
]
