"""What a list shows of all there is, read from the query string and written back into links."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from werkzeug.datastructures import MultiDict

from dermabatch.lifecycle import PREDICTED_STATES, ImageState
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import Triage

WORKLIST: Final = "worklist"
WORKLIST_DAYS: Final = (1, 7, 30, 90)
WANTS_EYES: Final = (Triage.URGENT, Triage.CANNOT_ASSESS, Triage.SOON)
EVERY_STATE: Final = "all"


Member = TypeVar("Member", bound=StrEnum)


def member_of(values: type[Member], text: str | None) -> Member | None:
    """The value that a query string spells; None for anything else."""
    return next((value for value in values if value == text), None)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The choices of a reader; an empty one does not narrow.

    A value in the query string that means nothing (an old link, a typing error) is taken for not chosen.
    """

    triage: tuple[Triage, ...] = ()
    classes: tuple[str, ...] = ()
    state: ImageState | None = None
    every_state: bool = False
    days: int | None = None
    """Of the worklist; None for the list of one batch."""

    @classmethod
    def of_batch(cls, args: "MultiDict[str, str]") -> "Narrowing":
        """For the results of one batch."""
        state = args.get("state", "")
        return cls(
            triage=tuple(level for level in Triage if level in args.getlist("triage")),
            classes=tuple(code for code in CLASSES if code in args.getlist("class")),
            state=member_of(ImageState, state),
            every_state=state == EVERY_STATE,
        )

    @classmethod
    def of_worklist(cls, args: "MultiDict[str, str]") -> "Narrowing":
        """For the worklist over batches."""
        days = args.get("days", 7, type=int)
        return cls(
            triage=tuple(level for level in WANTS_EYES if level in args.getlist("triage")),
            classes=tuple(code for code in CLASSES if code in args.getlist("class")),
            days=days if days in WORKLIST_DAYS else 7,
        )

    @classmethod
    def of_reader(cls, args: "MultiDict[str, str]") -> "Narrowing":
        """For an image: of the list that its reader came from."""
        return cls.of_worklist(args) if args.get("list") == WORKLIST else cls.of_batch(args)

    @property
    def any_chosen(self) -> bool:
        """Whether the reader sees less than the whole list."""
        return bool(self.triage or self.classes or self.state)

    @property
    def states(self) -> tuple[ImageState, ...]:
        """Of the images to list: those with a result unless the reader asks for others."""
        if self.every_state:
            return tuple(ImageState)
        return (self.state,) if self.state else tuple(PREDICTED_STATES)

    @property
    def since(self) -> datetime | None:
        """Start of the worklist."""
        return datetime.now(UTC) - timedelta(days=self.days) if self.days else None

    def criteria(self) -> Mapping[str, Any]:
        """As `dermabatch.results` takes them."""
        levels = self.triage or (WANTS_EYES if self.days else ())
        return {"triage": levels or None, "classes": self.classes or None}

    def query(self) -> dict[str, Any]:
        """As `url_for` takes them, so that a link keeps the choices."""
        state = EVERY_STATE if self.every_state else self.state and self.state.value
        query: dict[str, Any] = {
            "triage": [level.value for level in self.triage],
            "class": list(self.classes),
            "state": state,
        }
        return query | {"days": self.days} if self.days else query

    def reader_query(self) -> dict[str, Any]:
        """`query`, and which list it narrows: for links from the list to its images."""
        return self.query() | ({"list": WORKLIST} if self.days else {})
