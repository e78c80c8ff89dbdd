"""A message in the queue means *there is work*; nothing of it is read but that it came.

Whoever can write to Redis could otherwise send arguments, callbacks or times of his own, or a body that Celery does
not understand: that ends its worker, and the next one, to whom the message is delivered again.
"""

from collections.abc import Callable

from celery.worker.consumer import Consumer
from kombu.message import Message

from dermabatch.queue import WORK_TASK


class HintConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, for which every message is the one that `WakeUp` sends."""

    def create_task_handler(self) -> Callable[[Message], None]:
        """What Celery calls with each message."""
        handle = super().create_task_handler()

        def take_as_hint(message: Message) -> None:
            message.headers = {"lang": "py", "task": WORK_TASK, "id": str(message.delivery_tag)}
            message.properties = {}
            message.content_type, message.content_encoding = "application/json", "utf-8"
            message.body = "[[], {}, {}]"  # no arguments, no named ones, no callbacks
            handle(message)

        return take_as_hint
