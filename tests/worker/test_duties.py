from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func
from structlog.testing import capture_logs

from styleflow.api_keys import SecretBox, ensure_project
from styleflow.batches import queries
from styleflow.database import Database
from styleflow.errors import DependencyUnavailable
from styleflow.jobs import erasures
from styleflow.settings import Settings
from styleflow.storage.keys import report_key
from styleflow.storage.local import LocalBucket
from styleflow.telemetry import REGISTRY
from styleflow.webhook_tables import ReplayRow, WebhookEndpointRow
from styleflow.webhooks import endpoints, replay
from tests.batches.yard import TEMPLATE, item
from tests.exports.copyroom import Copyroom
from tests.jobs.desk import KEY, PROJECT, Desk
from tests.stack import eventually
from worker.duties import (
    _in_charge,
    erase,
    erase_objects,
    expand,
    export,
    feed,
    look_after_endpoints,
    run_until_stopped,
)
from worker.duty import Duty
from worker.scratch import common_folder


def test_a_duty_that_did_something_is_due_again_at_once() -> None:
    duty = Duty("any", 1000.0, lambda: 3)

    assert [duty.tick(), duty.tick()] == [True, True]


def test_a_duty_with_nothing_to_do_waits_for_its_time() -> None:
    runs: list[int] = []
    duty = Duty("any", 1000.0, lambda: len(runs) if runs.append(1) else 0)

    assert [duty.tick(), duty.tick()] == [False, False]
    assert len(runs) == 1


def test_a_duty_that_meets_trouble_goes_on_later() -> None:
    def broken() -> int:
        raise DependencyUnavailable("the broker does not answer")

    duty = Duty("dispatch", 0.0, broken)

    assert [duty.tick(), duty.tick()] == [False, False]


def broken_runs(duty: str) -> float:
    return REGISTRY.get_sample_value("styleflow_duties_broken_total", {"duty": duty}) or 0.0


def test_a_bug_in_a_duty_is_logged_and_counted_and_the_duty_waits_longer_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, healthy = [1000.0], [False]
    monkeypatch.setattr("worker.duty.time.monotonic", lambda: now[0])
    duty = Duty("with a bug", 0.0, lambda: 1 if healthy[0] else 1 // 0)
    before = broken_runs("with a bug")

    ran_at = []
    with capture_logs() as logged:
        while len(ran_at) < 9:
            seen = broken_runs("with a bug")
            duty.due_at = 0.0  # somebody wakes it
            assert duty.tick() is False
            if broken_runs("with a bug") > seen:
                ran_at.append(now[0])
            now[0] += 1.0

    pauses = [later - earlier for earlier, later in pairwise(ran_at)]
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256]
    assert broken_runs("with a bug") - before == 9
    assert {(line["event"], line["duty"], line["exc_info"]) for line in logged} == {("duty_broke", "with a bug", True)}

    now[0] += 300.0
    healthy[0] = True
    assert duty.tick() is True
    healthy[0] = False
    assert duty.tick() is False
    now[0] += 2.0
    assert (duty.tick(), broken_runs("with a bug") - before) == (False, 11), "the pause is the first again"


def test_a_bug_in_one_duty_leaves_the_others_of_its_loop_their_turns(database: Database) -> None:
    runs: list[int] = []
    stopping = threading.Event()

    def good() -> int:
        runs.append(1)
        if len(runs) == 5:
            stopping.set()
        return 1

    def loop(settings: Settings, database: Database, stopping: threading.Event) -> None:
        _in_charge(990_001, [Duty("bad", 0.0, lambda: 1 // 0), Duty("good", 0.0, good)], database, stopping)

    assert run_until_stopped([loop], Settings(), database, stopping) == 0
    assert len(runs) >= 5


def test_a_loop_that_ends_by_a_bug_ends_the_whole_light_worker(database: Database) -> None:
    stopping = threading.Event()

    def broken(settings: Settings, database: Database, stopping: threading.Event) -> None:
        raise OverflowError("a receiver sent something that nobody thought of")

    def healthy(settings: Settings, database: Database, stopping: threading.Event) -> None:
        assert stopping.wait(30)

    assert run_until_stopped([broken, healthy], Settings(), database, stopping) == 1


def test_a_batch_is_listed_and_fed_by_the_light_worker(database: Database, tmp_path: Path) -> None:
    desk = Desk(database)
    source = {"type": "inline", "items": [item(number) for number in range(3)]}
    new = queries.NewBatch(project_id=PROJECT, name="b", source=source, template=TEMPLATE, max_in_flight=2, keep_days=1)
    batch = desk.do(lambda session: queries.create(session, new).id)
    bucket = tmp_path / "videos"
    settings = Settings(database_url=database.url, bucket_url=f"file://{bucket}")
    stopping = threading.Event()

    def watch(settings: Settings, database: Database, stopping: threading.Event) -> None:
        eventually(lambda: desk.do(queries.counts, batch)["queued"] == 2, seconds=30)

    assert run_until_stopped([feed, expand, watch], settings, database, stopping) == 0
    assert desk.do(queries.counts, batch)["listed"] == 1


def test_an_export_is_written_by_the_light_worker_which_leaves_no_files_behind(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Copyroom(Desk(database), LocalBucket(tmp_path / "bucket"))
    job, identity = room.desk.submit(), room.create()
    settings = Settings(database_url=database.url, bucket_url=f"file://{tmp_path / 'bucket'}")

    def watch(settings: Settings, database: Database, stopping: threading.Event) -> None:
        eventually(lambda: room.export(identity).state == "succeeded", seconds=30)

    common = tmp_path / "scratch" / common_folder("exports").name
    killed = common / "1-killed"
    killed.mkdir(mode=0o700, parents=True)
    common.chmod(0o700)
    (killed / "styleflow-export-x").write_bytes(b"rows that a killed light worker had written")
    killed.with_suffix(".lock").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    assert run_until_stopped([export, watch], settings, database, threading.Event()) == 0
    assert list(common.iterdir()) == [], "neither its own files nor those of one that was killed"
    assert [row["job_id"] for row in room.rows(identity)] == [job]


def test_an_erasure_is_carried_out_and_its_objects_are_erased_by_the_light_worker(
    database: Database, tmp_path: Path
) -> None:
    desk = Desk(database)
    settings = Settings(
        database_url=database.url, bucket_url=f"file://{tmp_path / 'bucket'}", secret_key=SecretStr("a key of sixteen")
    )
    identity = desk.succeeded()
    bucket = LocalBucket(tmp_path / "bucket")
    bucket.put(report_key(identity, 1), b"{}", "application/json")
    order = desk.do(lambda session: erasures.order(session, PROJECT, "job_ids", [identity], requested_by=KEY).id)
    stopping = threading.Event()

    def watch(settings: Settings, database: Database, stopping: threading.Event) -> None:
        eventually(lambda: desk.do(erasures.get_erasure, PROJECT, order).state == "completed", seconds=30)

    assert run_until_stopped([erase, erase_objects, watch], settings, database, stopping) == 0
    assert list(bucket.list("")) == []


def test_loops_that_were_told_to_stop_end_well(database: Database) -> None:
    stopping = threading.Event()
    stopping.set()

    def obedient(settings: Settings, database: Database, stopping: threading.Event) -> None:
        assert stopping.is_set()

    assert run_until_stopped([obedient, obedient], Settings(), database, stopping) == 0


def test_endpoints_are_looked_after_beside_all_else(database: Database) -> None:
    """A replay is carried out, and an endpoint that answered nothing for days is switched off."""
    with database.transaction() as session:
        project = ensure_project(session, "acme").id
        new = endpoints.NewEndpoint(url="https://hooks.example.org/", events=["*"])
        rows = [endpoints.create_endpoint(session, SecretBox("a key of sixteen"), project, new)[0] for _ in range(2)]
        rows[1].failing_since = func.now() - timedelta(days=6)
        ordered = replay.order_replay(
            session,
            rows[0],
            from_time=datetime.now(UTC) - timedelta(hours=1),
            to_time=datetime(2999, 1, 1, tzinfo=UTC),
            states=["failed"],
            event_types=None,
        )
    stopping = threading.Event()
    thread = threading.Thread(target=look_after_endpoints, args=(Settings(), database, stopping))
    thread.start()

    def both_done() -> bool:
        with database.transaction() as session:
            off = session.get_one(WebhookEndpointRow, rows[1].id).state == "disabled"
            return off and session.get_one(ReplayRow, ordered.id).state == "completed"

    try:
        eventually(both_done, seconds=15)
    finally:
        stopping.set()
        thread.join()
