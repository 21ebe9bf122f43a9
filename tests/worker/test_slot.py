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
