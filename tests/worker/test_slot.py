from __future__ import annotations

import threading
import time

from sqlalchemy import func, select, update

from styleflow.tables import OutboxRow
from tests.worker.conftest import Bench
from worker.fetch import FetchedVideo
from worker.slot import Slot


def test_a_nudge_that_arrives_while_a_found_job_runs_goes_back_to_be_heard_by_another(bench: Bench) -> None:
    found, nudged = bench.submit(), bench.submit()
    slot = Slot(bench.execution, ("standard",), poll_seconds=0.0)
    running, go_on = threading.Event(), threading.Event()

    def hold(video: FetchedVideo) -> None:
        running.set()
        assert go_on.wait(30)

    bench.analyzer.act = hold
    looking = threading.Thread(target=slot.look)
    looking.start()
    assert running.wait(30)
    with bench.database.transaction() as session:
        session.execute(update(OutboxRow).values(published_at=func.now()))

    slot.run(nudged)

    with bench.database.transaction() as session:
        (waiting,) = session.scalars(select(OutboxRow)).all()
        assert (waiting.job_id, waiting.published_at) == (nudged, None)
    go_on.set()
    looking.join()
    assert bench.job(found).state == "succeeded"


def test_an_idle_worker_looks_only_after_a_while_without_nudges(bench: Bench) -> None:
    first, second = bench.submit(), bench.submit()
    slot = Slot(bench.execution, ("standard",), poll_seconds=0.2)

    slot.run(first)

    assert not slot.look()
    time.sleep(0.25)
    assert slot.look()
    assert bench.job(second).state == "succeeded"


def test_nudges_that_come_too_late_do_not_keep_a_worker_from_looking(bench: Bench) -> None:
    done, waiting = bench.submit(), bench.submit()
    slot = Slot(bench.execution, ("standard",), poll_seconds=0.2)
    slot.run(done)
    time.sleep(0.25)

    slot.run(done)

    assert slot.look()
    assert bench.job(waiting).state == "succeeded"


def test_once_nudges_come_again_a_worker_no_longer_looks_on_through_the_backlog(bench: Bench) -> None:
    bench.submit()
    nudged, _ = bench.submit(), bench.submit()
    slot = Slot(bench.execution, ("standard",), poll_seconds=0.5)
    slot._active_at -= 1
    bench.execution.stopping.wait = lambda timeout=None: False  # type: ignore[method-assign]
    bench.analyzer.act = lambda _: slot.run(nudged)

    assert slot.look()

    assert not slot.look(), "the slot is left to the nudges"
