from enum import StrEnum


class Triage(StrEnum):
    URGENT = "urgent"
    SOON = "soon"
    CANNOT_ASSESS = "cannot_assess"
    NOT_FLAGGED = "not_flagged"
