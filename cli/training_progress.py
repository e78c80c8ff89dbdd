"""Training as bars with the time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.train import StepDone


class ProgressBars:
    """Draws decoding and training, and keeps one line for each epoch."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._decoding = bars.add_task("decoding", total=None, visible=False)
        self._training = bars.add_task("training", total=None, visible=False)

    def decoded(self, done: int, images: int) -> None:
        """Move the bar of the images."""
        self._bars.update(self._decoding, completed=done, total=images, visible=True)

    def stepped(self, step: StepDone) -> None:
        """Move the bar of the steps."""
        self._bars.update(
            self._training,
            completed=step.number,
            total=step.steps,
            description=f"training, loss {step.loss:.3f}",
            visible=True,
        )

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


@contextmanager
def progress_bars() -> Iterator[ProgressBars]:
    """Bars on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield ProgressBars(bars)
