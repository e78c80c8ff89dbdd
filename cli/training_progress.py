"""Training as bars with the time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from training.train import StepDone


class ProgressBars:
    """Draws a bar for each kind of work from the moment it begins, and keeps one line for each epoch."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._bar_of: dict[str, TaskID] = {}

    def working(self, work: str, done: int, total: int) -> None:
        """Move the bar of some work."""
        self._move(work, done, total, work)

    def stepped(self, step: StepDone) -> None:
        """Move the bar of the steps."""
        self._move("training", step.number, step.steps, f"training, loss {step.loss:.3f}")

    def finished_epoch(self, record: dict[str, float]) -> None:
        """Print what the epoch came to."""
        self.say(
            f"epoch {record['epoch']:.0f}: loss {record['loss']:.3f}, "
            f"validation loss {record['validation_loss']:.3f}, BMA {record['validation_bma']:.3f}, "
            f"{record['seconds']:.0f} s"
        )

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._bars.console.print(line, highlight=False)

    def _move(self, work: str, done: int, total: int, description: str) -> None:
        if work not in self._bar_of:
            self._bar_of[work] = self._bars.add_task(work, total=total)
        self._bars.update(self._bar_of[work], completed=done, total=total, description=description)


@contextmanager
def progress_bars() -> Iterator[ProgressBars]:
    """Bars on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield ProgressBars(bars)
