"""`python -m worker.duties`: the light worker. Recurring duties, on PostgreSQL's clock, without torch.

One process at a time is in charge of dispatch and rescue, one of feeding batches, and one of retention (advisory
locks), so they go on when Redis is down. Webhook deliveries, replays, exports, orders to erase and the
expansion of batches are claimed row by row and run in every light worker.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

import psycopg
import structlog
from prometheus_client import start_http_server
from sqlalchemy.orm import Session

from styleflow import audit, usage
from styleflow.api_keys import SecretBox, derived_key
from styleflow.batches.expansion import Expander
from styleflow.batches.feeding import Feeder
from styleflow.batches.tending import tend_once
from styleflow.broker import Broker
from styleflow.database import DISPATCH_CHANNEL, JOB_CHANNEL, Database
from styleflow.exports import keeping
from styleflow.exports.exporter import Exporter
from styleflow.ids import new_id
from styleflow.jobs import ageing, batch_counts, dispatch, open_multiparts, orphans, rescue, retention, workload
from styleflow.jobs.erasures import ErasureRunner
from styleflow.jobs.keeping import Retention
from styleflow.jobs.object_erasures import ObjectEraser
from styleflow.logging import configure_logging
from styleflow.policies.relabeling import relabel_once
from styleflow.quotas import Quotas
from styleflow.settings import Settings
from styleflow.storage.bucket import Bucket
from styleflow.telemetry import REGISTRY
from styleflow.webhooks import delivery, health, replay
from worker.duty import TROUBLE, Duty
from worker.installation import batch_shelves, egress, export_bucket, own_bucket
from worker.scratch import Scratch, common_folder

log = structlog.get_logger(__name__)

LEADER_LOCK, HOUSE_LOCK, BATCH_LOCK = 727_002, 727_004, 727_005
LEADER_IDLE_SECONDS = 15.0
"""PostgreSQL ends the session of a leader that says nothing for so long: a frozen one must not keep the lock."""
SWEEP_SECONDS, QUICK_SWEEP_SECONDS = 600.0, 10.0

EXPORT_SWEEPS = (
    ("retention of exports", 600.0, keeping.sweep_expired),
    ("files of exports that came to nothing", 30.0, keeping.sweep_fruitless),
)


def led_duties(settings: Settings, database: Database) -> list[Duty]:
    """What jobs wait for. One process at a time is in charge of it."""
    broker = Broker(settings.redis_url)
    turns = dispatch.Turns()

    def aged() -> int:
        with database.transaction() as session:
            return ageing.age(session, settings.nudge_window, settings.bulk_ageing_seconds)

    def learned() -> int:
        with database.transaction() as session:
            workload.learn(session, turns.workload)
        return 0

    def rescued() -> int:
        with database.transaction() as session:
            return rescue.sweep(session).total

    return [
        Duty(
            "dispatch",
            1.0,
            lambda: dispatch.dispatch_once(
                database,
                broker,
                window=settings.nudge_window,
                repair_seconds=settings.nudge_repair_seconds,
                turns=turns,
            ),
        ),
        Duty("expected work", 10.0, learned),
        Duty("ageing", 5.0, aged),
        Duty("rescue", settings.rescue_seconds, rescued),
    ]


def batch_duties(settings: Settings, database: Database) -> list[Duty]:
    """What batches wait for, once their items are listed. A thread and a lock of its own: dispatch must not wait."""
    feeder = Feeder(
        database=database,
        max_queued=settings.max_queued_jobs,
        max_attempts=settings.max_attempts,
        keep_days=settings.results_days,
        quotas=Quotas.from_settings(settings.model_dump()),
    )

    def folded() -> int:
        with database.transaction() as session:
            return batch_counts.fold(session)

    def usage_folded() -> int:
        with database.transaction() as session:
            return usage.fold(session)

    return [
        Duty("feed batches", 1.0, feeder.feed_once),
        Duty("tend batches", 1.0, lambda: tend_once(database)),
        Duty("fold counts", 5.0, folded),
        Duty("relabel", 1.0, lambda: relabel_once(database)),
        Duty("fold usage", 5.0, usage_folded),
    ]


def house_duties(settings: Settings, database: Database) -> list[Duty]:
    """What nobody waits for: it talks to the bucket, which may be slow, so it has a thread and a lock of its own."""
    bucket = own_bucket(settings)
    keep = retention.Keep(
        default=Retention(
            source_hours=settings.source_hours,
            crops_days=settings.crops_days,
            frames_days=settings.frames_days,
            results_days=settings.results_days,
        ),
        events_days=settings.events_days,
        audit_days=settings.audit_days,
    )

    def forget(sweep: retention.Sweep) -> int:
        with database.transaction() as session:
            return sweep(session, keep, retention.BATCH)

    def every(kind: str) -> float:
        return QUICK_SWEEP_SECONDS if kind in retention.QUICK else SWEEP_SECONDS

    def swept(sweep: Callable[[Session, Bucket], int]) -> int:
        with database.transaction() as session:
            return sweep(session, bucket)

    def audit_dropped() -> int:
        with database.transaction() as session:
            return audit.drop_old(session, settings.audit_days)

    def recounted() -> int:
        with database.transaction() as session:
            return usage.recount(session)

    return [
        *(Duty(f"retention of {kind}", every(kind), partial(forget, sweep)) for kind, sweep in retention.KINDS.items()),
        Duty("retention of audit events", 600.0, audit_dropped),
        Duty("recount", 21_600.0, recounted),
        Duty("orphans", 60.0, orphans.OrphanReaper(database, bucket).reap),
        Duty("open multiparts", 600.0, open_multiparts.MultipartReaper(database, bucket).reap),
        *(Duty(name, every, partial(swept, sweep)) for name, every, sweep in EXPORT_SWEEPS),
        Duty("orphans of exports", 60.0, keeping.ExportReaper(database, bucket).reap),
    ]


def lead(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Dispatch and rescue, in one process at a time; woken by every job that is queued."""
    _in_charge(LEADER_LOCK, led_duties(settings, database), database, stopping, wake_on=DISPATCH_CHANNEL)


def feed(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Feed and tend batches, in one process at a time."""
    _in_charge(BATCH_LOCK, batch_duties(settings, database), database, stopping)


def expand(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """List the items of batches, wherever their lists are; each batch is leased."""
    shelves = batch_shelves(settings, own_bucket(settings), egress(settings))
    expander = Expander(database=database, shelves=shelves, owner=f"{socket.gethostname()}/{os.getpid()}")
    _repeat(Duty("expansion", 1.0, expander.expand_once), stopping)


def erase(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Carry out orders to erase; each is leased, and waits for the object store without a thread."""
    runner = ErasureRunner(
        database=database,
        owner=f"{socket.gethostname()}/{os.getpid()}",
        selector_key=derived_key(settings.secret_key.get_secret_value(), "erasure selectors"),
    )
    _repeat(Duty("erasures", 1.0, runner.run_once), stopping)


def erase_objects(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Erase what is due in the bucket, which may be away: a thread of its own, so that nothing else waits for it."""
    eraser = ObjectEraser(database=database, bucket=own_bucket(settings))
    _repeat(Duty("erasure of objects", 2.0, eraser.erase_due), stopping)


def _repeat(duty: Duty, stopping: threading.Event) -> None:
    while not stopping.is_set():
        if not duty.tick():
            stopping.wait(0.5)


def export(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Write exports, a file at a time; each export is leased."""
    with Scratch(common_folder("exports"), f"{os.getpid()}-{new_id('x')[-6:].lower()}") as scratch:
        exporter = Exporter(
            database=database,
            bucket=own_bucket(settings),
            bucket_named=partial(export_bucket, settings),
            owner=f"{socket.gethostname()}/{os.getpid()}",
            scratch=scratch.folder,
            stopping=stopping.is_set,
        )
        _repeat(Duty("export", 1.0, exporter.export_once), stopping)


def keep_house(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Retention and orphans, in one process at a time."""
    _in_charge(HOUSE_LOCK, house_duties(settings, database), database, stopping)


def _in_charge(
    lock: int, duties: list[Duty], database: Database, stopping: threading.Event, *, wake_on: str | None = None
) -> None:
    """Take the lock, do the duties until told to stop; when the lock's connection breaks, try again."""
    while not stopping.is_set():
        try:
            with database.listener() as connection:
                if not _locked(connection, lock):
                    stopping.wait(1.0)
                    continue
                log.info("in_charge", duties=[duty.name for duty in duties])
                connection.execute(f"set idle_session_timeout = '{LEADER_IDLE_SECONDS:.0f}s'")
                if wake_on is not None:
                    connection.execute(f"listen {wake_on}")
                _do(duties, connection, stopping)
        except TROUBLE as error:
            log.warning("leadership_lost", error=type(error).__name__)
            stopping.wait(1.0)


def deliver(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Send what is due to webhook endpoints; woken by every job that settles."""
    outside = egress(settings)
    secrets = SecretBox(settings.secret_key.get_secret_value())
    deliverer = delivery.Deliverer(
        database,
        outside,
        secrets,
        concurrency=settings.webhook_concurrency,
        timeout_seconds=settings.webhook_timeout_seconds,
    )
    duty = Duty("delivery", 1.0, lambda: deliverer.deliver_due(settings.webhook_concurrency))
    with deliverer:
        while not stopping.is_set():
            try:
                with database.listener() as connection:
                    connection.execute(f"listen {JOB_CHANNEL}")
                    _do([duty], connection, stopping)
            except TROUBLE as error:
                log.warning("delivery_interrupted", error=type(error).__name__)
                stopping.wait(1.0)


def look_after_endpoints(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Replays, and switching off what answers nothing any more: row by row, in a thread that no delivery waits for."""

    def switched_off() -> int:
        with database.transaction() as session:
            return health.switch_off_silent(session, settings.webhook_disable_days)

    def failed_to_deleted() -> int:
        with database.transaction() as session:
            return health.fail_to_deleted(session)

    duties = [
        Duty("replays", 1.0, lambda: replay.replay_once(database)),
        Duty("silent endpoints", 60.0, switched_off),
        Duty("deliveries to deleted endpoints", 60.0, failed_to_deleted),
    ]
    while not stopping.is_set():
        worked = [duty.tick() for duty in duties]
        if not any(worked):
            stopping.wait(0.5)


def _locked(connection: psycopg.Connection[tuple[object, ...]], lock: int) -> bool:
    row = connection.execute("select pg_try_advisory_lock(%s)", (lock,)).fetchone()
    return bool(row and row[0])


def _do(duties: list[Duty], connection: psycopg.Connection[tuple[object, ...]], stopping: threading.Event) -> None:
    """Work through what is due; a notification makes the first duty due at once. Ends when told to stop."""
    while not stopping.is_set():
        connection.execute("select 1")
        worked = [duty.tick() for duty in duties]
        if not any(worked):
            for _ in connection.notifies(timeout=0.5, stop_after=1):
                duties[0].due_at = 0.0


Loop = Callable[[Settings, Database, threading.Event], None]


def run_until_stopped(loops: Sequence[Loop], settings: Settings, database: Database, stopping: threading.Event) -> int:
    """Run each in a thread. A bug within a duty stays there (duty.py); a loop that ends by one takes the process along,
    with exit code 1: whoever supervises it starts it again, while half a light worker would look alive."""
    broken = threading.Event()

    def guarded(loop: Loop) -> None:
        try:
            loop(settings, database, stopping)
        except Exception:
            log.exception("light_worker_broke", loop=loop.__name__)
            broken.set()
        finally:
            stopping.set()

    threads = [threading.Thread(target=guarded, args=(loop,), name=loop.__name__) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1 if broken.is_set() else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.duties", description="Do what recurs.")
    parser.add_argument("--metrics-port", type=int, default=0, help="serve this process's /metrics there; 0 does not")
    arguments = parser.parse_args()
    settings = Settings()
    configure_logging(settings.log_format)
    if arguments.metrics_port:
        start_http_server(arguments.metrics_port, registry=REGISTRY)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    database = Database(
        settings.database_url, pool_size=8 + settings.webhook_concurrency, application="styleflow-duties"
    )
    loops = [lead, feed, expand, export, erase, erase_objects, keep_house, deliver, look_after_endpoints]
    code = run_until_stopped(loops, settings, database, stopping)
    database.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
