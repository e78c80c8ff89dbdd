"""What leaves which event in the audit trail: every route, every command, every task.

The tests beside this file ask each of them, as everybody who may and as everybody who may not, and count. A new one
without a line fails them, and so does a line without its route, command or task.

What holds everywhere stands here once and not in the lines:

| who asks, what for | event |
|---|---|
| a person without the role, a token without the scope | `access.refused` |
| a token that is unknown, ended or revoked | `access.refused`, of nobody known |
| somebody unknown who shows nothing | none: they are sent to the door, and see nothing |
| what there is not, or not for this department; what cannot be done so; a part that is away | `request.failed` |
| more often than the portal allows | none: a flood of requests must not become one of events |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dermabatch.audit import Action, ActorKind


@dataclass(frozen=True)
class Leaves:
    """One event, once it is done.

    Attributes:
        of: type of what it is done to; where the address names that thing, the event has its id.
        by: who stands behind it.
        in_department: whether the event belongs to a department, or is one of the whole hospital.
        first: another deed in the same breath, with an event of its own before this one.
    """

    action: Action
    of: str | None = None
    by: ActorKind = ActorKind.PERSON
    in_department: bool = True
    first: Action | None = None


@dataclass(frozen=True)
class Silent:
    """No event, and why none is needed."""

    why: str


Line = Leaves | Silent

_FORM: Final = Silent("an empty form")
_HELP: Final = Silent("a text of this release")
_OWN: Final = Silent("one's own account, and nothing of anybody else")
_PICTURE: Final = Silent("its ticket comes from a page whose event names the image")


def _changed() -> Leaves:
    return Leaves(Action.USER_CHANGED, "user")


def _hospital(action: Action, of: str | None = None) -> Leaves:
    return Leaves(action, of, in_department=False)


ROUTES: Final[Mapping[str, Line]] = {
    "static": Silent("files of this release"),
    "frame.health": Silent("says that the portal runs, and no more"),
    "frame.choose_theme": Silent("a cookie in the reader's own browser"),
    "api_docs.show": _HELP,
    "api-docs.openapi_json": _HELP,
    "help.index": _HELP,
    "help.show": _HELP,
    # Coming and going
    "sign_in.form": _FORM,
    "sign_in.check_password": Leaves(Action.SESSION_SIGN_IN, "user"),
    "sign_in.code": _FORM,
    "sign_in.check_code": Leaves(Action.SESSION_SIGN_IN, "user"),
    "sign_in.out": Leaves(Action.SESSION_SIGN_OUT, "session"),
    "account.show": _OWN,
    "account.change_password": _changed(),
    "account.sign_out_everywhere": Leaves(Action.SESSION_ENDED, "user"),
    "account.end_session": Leaves(Action.SESSION_ENDED, "session"),
    "account.create_token": Leaves(Action.TOKEN_CREATED, "token"),
    "account.revoke_token": Leaves(Action.TOKEN_REVOKED, "token"),
    "second_factor.show": _OWN,
    "second_factor.prepare": Leaves(Action.SECOND_FACTOR_PREPARED, "user"),
    "second_factor.confirm": Leaves(Action.SECOND_FACTOR_ENROLLED, "user"),
    "second_factor.renew_codes": Leaves(Action.SECOND_FACTOR_RECOVERY_CODES, "user"),
    "second_factor.remove": Leaves(Action.SECOND_FACTOR_REMOVED, "user"),
    # The work of a department
    "worklist.home": Leaves(Action.BATCH_VIEW),
    "upload.new": _FORM,
    "upload.create": Leaves(Action.BATCH_UPLOAD, "batch", first=Action.PACK_STORED),
    "upload.sample": Leaves(Action.BATCH_UPLOAD, "batch", first=Action.PACK_STORED),
    "batches.index": Leaves(Action.BATCHES_LIST),
    "batch.show": Leaves(Action.BATCH_VIEW, "batch"),
    "batch.progress": Silent(
        "a page that was shown asks by itself how far the batch is; no result of an image"
    ),
    "batch.listing": Leaves(Action.BATCH_VIEW, "batch"),
    "batch.export": Leaves(Action.BATCH_EXPORT, "batch"),
    "batch.cancel": Leaves(Action.BATCH_CANCEL, "batch"),
    "batch.retry": Leaves(Action.BATCH_RETRY, "batch"),
    "images.show": Leaves(Action.IMAGE_VIEW, "image"),
    "images.picture": _PICTURE,
    "images.thumbnail": _PICTURE,
    "images.heat_map": _PICTURE,
    # The installation
    "models.index": Leaves(Action.MODEL_VIEW),
    "models.show": Leaves(Action.MODEL_VIEW, "model"),
    "models.activate": _hospital(Action.MODEL_ACTIVATED, "model"),
    "models.roll_back": _hospital(Action.MODEL_ROLLED_BACK, "model"),
    "audit.search": Leaves(Action.AUDIT_SEARCH),
    "audit.verify": Leaves(Action.AUDIT_VERIFY),
    "audit.show": Leaves(Action.AUDIT_VIEW, "event"),
    "audit.export": Leaves(Action.AUDIT_EXPORT),
    "system.show": Silent("the health of the installation: counts, and nothing of anybody"),
    "users.index": Leaves(Action.USER_VIEW),
    "users.create": Leaves(Action.USER_CREATED, "user"),
    "users.set_roles": _changed(),
    "users.set_password": _changed(),
    "users.disable": _changed(),
    "users.enable": _changed(),
    "users.sign_out": Leaves(Action.SESSION_ENDED, "user"),
    "users.reset_second_factor": Leaves(Action.SECOND_FACTOR_REMOVED, "user"),
    "users.forget_guesses": _changed(),
    # The API
    "Token.show": _OWN,
    "Batches.create": Leaves(Action.BATCH_UPLOAD, "batch", first=Action.PACK_STORED),
    "Batches.index": Leaves(Action.BATCHES_LIST),
    "Batches.show": Leaves(Action.BATCH_VIEW, "batch"),
    "Batches.show_results": Leaves(Action.BATCH_VIEW, "batch"),
    "Batches.export": Leaves(Action.BATCH_EXPORT, "batch"),
    "Batches.cancel": Leaves(Action.BATCH_CANCEL, "batch"),
    "Batches.retry": Leaves(Action.BATCH_RETRY, "batch"),
    "Images.show": Leaves(Action.IMAGE_VIEW, "image"),
    "Images.thumbnail": Leaves(Action.IMAGE_VIEW, "image"),
    "Images.heat_map": Leaves(Action.IMAGE_VIEW, "image"),
    "Models.index": Leaves(Action.MODEL_VIEW),
    "Models.active": Leaves(Action.MODEL_VIEW, "model"),
    "Models.show": Leaves(Action.MODEL_VIEW, "model"),
    "Models.activate": _hospital(Action.MODEL_ACTIVATED, "model"),
    "Models.roll_back": _hospital(Action.MODEL_ROLLED_BACK, "model"),
    "Audit.index": Leaves(Action.AUDIT_SEARCH),
    "Audit.verification": Leaves(Action.AUDIT_VERIFY),
}
"""By Flask's name of a route, as in `webui/policy.py`, which says who may use it."""


_FILES: Final = Silent("works on files of whoever types it; no database, no storage")
_PROGRAM: Final = Silent("becomes the program, whose deeds leave their own events")
_OWN_SERVICES: Final = Silent("starts services of its own, which end with it")


def _typed(action: Action, of: str | None = None, *, in_department: bool = False) -> Leaves:
    """By a command that names nobody."""
    return Leaves(action, of, ActorKind.SERVICE, in_department)


COMMANDS: Final[Mapping[str, Line]] = {
    "audit accept-restore": _hospital(Action.AUDIT_RESTORE_ACCEPTED, "audit"),
    "audit bench": _OWN_SERVICES,
    "audit export": _hospital(Action.AUDIT_EXPORT, "audit"),
    "audit rotate-key": Silent("writes files; the scheduler leaves the event when it signs with the new key"),
    "audit search": _hospital(Action.AUDIT_SEARCH, "audit"),
    "audit verify": _hospital(Action.AUDIT_VERIFY, "audit"),
    "audit verify-export": _FILES,
    "bench": _OWN_SERVICES,
    "cancel": Leaves(Action.BATCH_CANCEL, "batch"),
    "data check": _FILES,
    "data fetch": _FILES,
    "data split": _FILES,
    "demo": _PROGRAM,
    "doctor": Silent("the health of the installation: counts, and nothing of anybody"),
    "ensemble": _FILES,
    "erase-patient": Leaves(Action.SUBJECT_ERASED, "subject"),
    "evaluate": _FILES,
    "explain": _FILES,
    "migrate": Silent(
        "makes tables; the first department and the service principals leave theirs the first time"
    ),
    "models activate": _hospital(Action.MODEL_ACTIVATED, "model"),
    "models compare": _typed(Action.MODEL_VIEW),
    "models list": _typed(Action.MODEL_VIEW),
    "models publish-shipped": _typed(Action.MODEL_PUBLISHED, "model"),
    "models rollback": _hospital(Action.MODEL_ROLLED_BACK, "model"),
    "models served-at": _typed(Action.MODEL_VIEW, "model"),
    "models show": _typed(Action.MODEL_VIEW, "model"),
    "new-secrets": _FILES,
    "precision": _FILES,
    "predict": _FILES,
    "publish": _hospital(Action.MODEL_PUBLISHED, "model"),
    "replay-erasures": _typed(Action.SUBJECT_ERASED, "subject", in_department=True),
    "results": Leaves(Action.BATCH_VIEW, "batch"),
    "retry": Leaves(Action.BATCH_RETRY, "batch"),
    "scheduler": _PROGRAM,
    "screen": Leaves(Action.SCREENING_ENDED, "screening", first=Action.SCREENING_STARTED),
    "submit": Leaves(Action.BATCH_UPLOAD, "batch", first=Action.PACK_STORED),
    "train": Silent("works on files; with --publish it goes on as `publish` does"),
    "tune": _FILES,
    "up": _PROGRAM,
    "users add": _typed(Action.USER_CREATED, "user", in_department=True),
    "users add-department": _typed(Action.DEPARTMENT_CREATED, "department"),
    "users disable": _typed(Action.USER_CHANGED, "user", in_department=True),
    "users enable": _typed(Action.USER_CHANGED, "user", in_department=True),
    "users forget-guesses": _typed(Action.USER_CHANGED, "user", in_department=True),
    "users list": _typed(Action.USER_VIEW),
    "users reset-second-factor": _typed(Action.SECOND_FACTOR_REMOVED, "user", in_department=True),
    "users revoke": _typed(Action.TOKEN_REVOKED, "token", in_department=True),
    "users roles": _typed(Action.USER_CHANGED, "user", in_department=True),
    "users sign-out": _typed(Action.SESSION_ENDED, "user", in_department=True),
    "users token": _typed(Action.TOKEN_CREATED, "token", in_department=True),
    "users tokens": _typed(Action.USER_VIEW, "user"),
    "web": _PROGRAM,
    "worker": _PROGRAM,
}
"""As they are typed."""


def _by_itself(action: Action, of: str, *, in_department: bool = True) -> Leaves:
    return Leaves(action, of, ActorKind.SERVICE, in_department)


TASKS: Final[Mapping[str, Line]] = {
    "dermabatch.work": _by_itself(Action.CHUNK_CLASSIFIED, "batch"),
}
"""Of Celery. A chunk that was given back, has lapsed or was recorded by another leaves none: nothing came of it."""

SCHEDULED: Final[Mapping[str, Line]] = {
    "_return_lapsed": Silent("the chunk goes back to the others; the log has it"),
    "_wake_workers": Silent("a hint"),
    "replay_erasures": _by_itself(Action.SUBJECT_ERASED, "subject"),
    "collect_orphans": _by_itself(Action.BATCH_UPLOAD, "batch"),
}
"""What `worker.scheduler.Sweeper.sweep` calls."""
