"""Wake-up messages: *there is work*. A hint and nothing more; the row is the truth.

A message names no chunk. Whoever gets one claims the best chunk there is, so that a lost, doubled or forged
message costs nothing but time, and the sweeper sends what was lost again.
"""

from typing import Final

import structlog
from celery import Celery
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dermabatch.settings import Settings

WORK_TASK: Final = "dermabatch.work"
WORK_QUEUE: Final = "dermabatch.work"

# A portal that waits for Redis makes a nurse wait. A worker's own connection must outwait an idle BRPOP.
_HINT_TIMEOUT_SECONDS: Final = 0.3
_WORKER_TIMEOUT_SECONDS: Final = 15

log = structlog.get_logger(__name__)


def create_app(settings: Settings, *, timeout_seconds: float = _WORKER_TIMEOUT_SECONDS) -> Celery:
    """The Celery application of a worker, or of whoever wakes one."""
    app = Celery("dermabatch", broker=settings.redis_url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_default_queue=WORK_QUEUE,
        task_serializer="json",
        accept_content=["json"],  # a pickle in the queue is an attack
        result_backend=None,
        task_ignore_result=True,
        # Acknowledged after the work: the message of a killed worker comes back. Doubling it does no harm.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=30,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": min(timeout_seconds, 2),
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


class WakeUp:
    """Sends wake-up messages; never raises and never takes longer than a moment, whatever Redis does."""

    def __init__(self, settings: Settings) -> None:
        self._app = create_app(settings, timeout_seconds=_HINT_TIMEOUT_SECONDS)
        self._redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=_HINT_TIMEOUT_SECONDS,
            socket_connect_timeout=_HINT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._most = settings.worker_slots

    def send(self, chunks: int) -> int:
        """Say that chunks wait; returns how many messages went out.

        Never more messages lie in the queue than one worker has slots: each is worked on until nothing
        waits any more, so further ones would only make the queue grow while workers are away.
        """
        try:
            missing = min(chunks, self._most) - self.waiting()
            for _ in range(missing):
                self._app.send_task(WORK_TASK, queue=WORK_QUEUE, retry=False, ignore_result=True)
        except Exception as error:
            # Whatever Redis or its client did: the rows are committed, and an upload must not fail for a hint.
            log.warning("wake_up_not_sent", error=repr(error), remedy="the sweeper sends it again")
            return 0
        return max(missing, 0)

    def waiting(self) -> int:
        """Messages that nobody has taken yet.

        Raises:
            RedisError: Redis does not answer.
        """
        length = self._redis.llen(WORK_QUEUE)
        assert isinstance(length, int)
        return length

    def close(self) -> None:
        """Close every connection to Redis."""
        self._redis.close()
        self._app.close()
