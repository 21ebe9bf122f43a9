"""Celery's pool of threads, which tells the event loop when a slot is free."""

from __future__ import annotations

from typing import Any

from celery.concurrency.thread import TaskPool
from kombu.asynchronous import get_event_loop


class WakingPool(TaskPool):
    """Without prefetching, the loop asks for the next message only when it looks again, and nothing tells it that a
    task has ended: a worker with a thousand nudges before it would idle for up to a second after each job."""

    def on_apply(self, *arguments: Any, **options: Any) -> Any:
        result = super().on_apply(*arguments, **options)
        # by then the request is no longer counted as reserved, which it still is within the task
        result.f.add_done_callback(_wake)
        return result


def _wake(_: object) -> None:
    loop = get_event_loop()
    if loop is not None:
        loop.call_soon(_nothing)


def _nothing() -> None:
    """A callback for its arrival alone."""
