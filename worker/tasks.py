"""The one task. It carries nothing: the worker claims the best chunk there is, not a named one."""

from threading import Event

import structlog
from celery import Celery

from dermabatch.errors import ServiceUnavailable
from dermabatch.queue import WORK_TASK
from worker.pipeline import Pipeline

log = structlog.get_logger(__name__)


def register(app: Celery, pipeline: Pipeline, stopping: Event) -> None:
    """Give the application its task.

    Args:
        app: of this worker.
        pipeline: does the work.
        stopping: set when the worker is told to stop: finish the chunk in hand, claim no other.
    """

    @app.task(name=WORK_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def work() -> None:
        try:
            while not stopping.is_set() and pipeline.claim_and_classify():
                pass
        except ServiceUnavailable as error:
            log.warning("work_paused", error=str(error), remedy="the sweeper wakes this worker again")
