"""Following a batch from the terminal until nothing of it is left to do."""

import time
from typing import Final
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dermabatch import ledger
from dermabatch.database import Sessions
from dermabatch.ledger import BatchCounts

_LOOK_SECONDS: Final = 0.2


def watch_batch(sessions: Sessions, department: UUID, batch_id: UUID, *, console: Console) -> BatchCounts:
    """Show a bar with counts and the time left; returns when every image has its outcome.

    Args:
        console: of standard error, so that standard output holds results only.
    """
    columns = (
        BarColumn(),
        TextColumn("{task.completed} of {task.total} done{task.fields[failed]}"),
        TimeElapsedColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, failed="")
        while True:
            with sessions.begin(department=department) as session:
                counts = ledger.counts(session, batch_id)
            failed = f", {counts.failed} failed" if counts.failed else ""
            bar.update(task, completed=counts.finished, total=counts.received, failed=failed)
            if counts.done:
                return counts
            time.sleep(_LOOK_SECONDS)
