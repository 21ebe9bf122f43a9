"""The Celery tasks: ids in, nothing out. The message is a nudge; the row in PostgreSQL is the job."""

from __future__ import annotations

from celery import Celery

from styleflow.broker import TASK_NAME
from worker.slot import Slot


def register(app: Celery, slot: Slot) -> None:
    """Bind the tasks of this process to its slot."""

    @app.task(name=TASK_NAME, ignore_result=True)
    def run_job(job_id: str) -> None:
        slot.run(job_id)
