"""What is wrong with a data set, all of it told at once, so that it can be mended in one go."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from training.errors import UnusableData

EXAMPLES: Final = 3
"""Of each kind of problem that a message shows; with thousands of images one cause often shows thousands of times."""


class Problem(StrEnum):
    """Why images cannot be trained on; the value is how a message calls it."""

    MISSING_COLUMN = "missing column"
    UNKNOWN_CLASS = "unknown class"
    IMPOSSIBLE_VALUE = "impossible value"
    NAMED_TWICE = "image named twice"
    CONTRADICTION = "tables contradict each other"
    LESION_IN_TWO_CLASSES = "lesion in two classes"
    NOT_THERE = "image that is not there"
    TWO_FILES = "image with two files"
    UNREADABLE = "unreadable image"


@dataclass(slots=True)
class Findings:
    """Collects problems, each with where it is, and notes: what is well to know and stops nothing."""

    problems: dict[Problem, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, problem: Problem, where: str) -> None:
        """Keep one more finding; `where` names the file and line, image or lesion."""
        self.problems.setdefault(problem, []).append(where)

    def lines(self) -> list[str]:
        """A line for each kind of problem: how often, and the first examples."""
        return [
            f"{problem} ({len(found):,}): {_shortened(found)}" for problem, found in self.problems.items()
        ]

    def stop_at_problems(self, folder: Path) -> None:
        """
        Raises:
            UnusableData: there are problems; the message counts and shows all kinds of them.
        """
        if self.problems:
            raise UnusableData("\n  ".join([f"The data in {folder} cannot be used.", *self.lines()]))


def _shortened(found: list[str]) -> str:
    more = f"; and {len(found) - EXAMPLES:,} more" if len(found) > EXAMPLES else ""
    return "; ".join(found[:EXAMPLES]) + more
