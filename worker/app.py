"""The worker process: a Celery worker with one slot, a thread that says it is alive, and the detector loaded once.

The pool is `threads` with a concurrency of one, not prefork: CUDA does not survive a fork, one process is one thing to
kill, and the child that may die of a video is the decoder's sandbox, not the worker. One process a slot; start several.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from celery import Celery, signals
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from styleflow import broker
from styleflow.database import Database
from styleflow.ids import new_id
from styleflow.jobs import workers
from styleflow.settings import Settings
from worker import tasks
from worker.execution import Analyzer, Execution
from worker.installation import own_bucket, sources
from worker.pool import WakingPool
from worker.scratch import Scratch, common_folder
from worker.slot import Slot

log = structlog.get_logger(__name__)

PRESENCE_SECONDS = 10.0


def run(settings: Settings, lanes: tuple[str, ...], load: Callable[[Settings], Analyzer]) -> int:
    """Serve the lanes until told to stop; returns the exit code. Loads the analyzer before taking any work."""
    analyzer = load(settings)
    stopping = threading.Event()
    name = f"{socket.gethostname()}-{os.getpid()}-{new_id('w')[-6:].lower()}"
    database = Database(settings.database_url, pool_size=4, application=f"styleflow-worker-{name}")
    with Scratch(common_folder(), name) as scratch:
        execution = _execution(settings, database, analyzer, name, scratch.folder, stopping)
        code = _work(settings, execution, lanes)
    database.close()
    return code


def _work(settings: Settings, execution: Execution, lanes: tuple[str, ...]) -> int:
    """Take nudges, and look for work unasked, until told to stop."""
    name, analyzer, stopping = execution.worker, execution.analyzer, execution.stopping
    slot = Slot(execution, lanes, poll_seconds=settings.poll_seconds)
    presence = threading.Thread(
        target=_keep_present, args=(execution.database, name, lanes, analyzer, stopping), daemon=True
    )
    looking = threading.Thread(target=_keep_looking, args=(slot, settings.poll_seconds, stopping), name="looking")
    presence.start()
    looking.start()
    app = broker.celery_app(settings.redis_url)
    tasks.register(app, slot)
    code = _serve(app, name, lanes, stopping)
    stopping.set()
    looking.join()  # a job that was found by looking is given back like any other
    presence.join(timeout=5)
    return code


def _execution(
    settings: Settings, database: Database, analyzer: Analyzer, name: str, scratch: Path, stopping: threading.Event
) -> Execution:
    bucket = own_bucket(settings)
    return Execution(
        database=database,
        bucket=bucket,
        sources=sources(settings, bucket),
        analyzer=analyzer,
        worker=name,
        scratch=scratch,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=min(settings.heartbeat_seconds, settings.lease_seconds / 4),
        max_attempt_seconds=settings.max_attempt_seconds,
        stopping=stopping,
        crops=settings.crops,
    )


def _serve(app: Celery, name: str, lanes: tuple[str, ...], stopping: threading.Event) -> int:
    """Celery's worker in this process; SIGTERM and SIGINT end it after the running job was given back."""
    signals.worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)
    worker = app.Worker(
        hostname=f"{name}@styleflow",
        pool_cls=WakingPool,
        concurrency=1,
        queues=[broker.QUEUES[lane] for lane in lanes],
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _keep_present(
    database: Database, name: str, lanes: tuple[str, ...], analyzer: Analyzer, stopping: threading.Event
) -> None:
    """Say every few seconds that this worker lives, whatever it is working on."""
    while not stopping.is_set():
        try:
            with database.transaction() as session:
                workers.seen(session, name, lanes=lanes, models=analyzer.models, device=analyzer.device)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("presence_failed", error=type(error).__name__)
        stopping.wait(PRESENCE_SECONDS)


def _keep_looking(slot: Slot, poll_seconds: float, stopping: threading.Event) -> None:
    """Look for work that no nudge announced."""
    while not stopping.is_set():
        if not slot.look():
            stopping.wait(poll_seconds * random.uniform(0.4, 0.6))  # noqa: S311  spreads the polls, guards nothing
