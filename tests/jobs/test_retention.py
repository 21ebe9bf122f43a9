from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from styleflow.errors import StorageUnavailable
from styleflow.jobs import progress
from styleflow.jobs.idempotency import remember
from styleflow.jobs.retention import KINDS, Keep
from styleflow.tables import JobRow, ResultRow, TrackRow, UploadRow
from styleflow.webhook_tables import DeliveryRow, EventRow
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import scored_report
from tests.jobs.test_progress import add_endpoint, add_upload

KEEP = Keep(source_hours=24, frames_days=90, events_days=30)


@pytest.fixture
def deleted() -> list[str]:
    return []


def run(desk: Desk, deleted: list[str], limit: int = 500) -> dict[str, int]:
    """Sweep every kind, each in its own transaction; how many of which were deleted."""
    counts = {kind: desk.do(sweep, KEEP, deleted.extend, limit) for kind, sweep in KINDS.items()}
    return {kind: count for kind, count in counts.items() if count}


def succeeded(desk: Desk) -> str:
    held = desk.running()
    desk.do(progress.succeed, held.job_id, held.token, scored_report(), f"evidence/{held.job_id}")
    return held.job_id


def test_what_is_young_is_kept(desk: Desk, deleted: list[str]) -> None:
    add_upload(desk)
    desk.sql("update uploads set state = 'pending', expires_at = now() + interval '1 hour'")
    succeeded(desk)
    desk.do(remember, PROJECT, "POST /v1/jobs", "k", "f", 1.0)

    assert run(desk, deleted) == {}
    assert deleted == []


def test_an_upload_goes_when_its_hours_are_over(desk: Desk, deleted: list[str]) -> None:
    add_upload(desk)
    desk.sql("update uploads set created_at = now() - interval '25 hours'")

    assert run(desk, deleted) == {"uploads": 1}
    assert deleted == ["uploads/video"]
    with desk.database.transaction() as session:
        assert session.get(UploadRow, "upl_1") is None


def test_an_upload_that_was_never_sent_goes_when_its_address_expired(desk: Desk, deleted: list[str]) -> None:
    add_upload(desk)
    desk.sql("update uploads set state = 'pending', expires_at = now() - interval '1 minute'")

    assert run(desk, deleted) == {"uploads": 1}


@pytest.mark.parametrize("claimed", [False, True])
def test_an_old_upload_stays_while_a_job_still_needs_it(desk: Desk, deleted: list[str], claimed: bool) -> None:
    identity = desk.submit(source={"type": "upload", "upload_id": add_upload(desk)})
    if claimed:
        desk.claim(identity)
    desk.sql("update uploads set created_at = now() - interval '25 hours'")
    assert run(desk, deleted) == {}

    desk.sql("update jobs set state = 'failed'")
    assert run(desk, deleted) == {"uploads": 1}


@pytest.mark.parametrize(("owner", "kept"), [(PROJECT, True), ("prj_other", False)])
def test_an_old_upload_stays_while_a_batch_of_its_project_has_yet_to_make_a_job_of_it(
    desk: Desk, deleted: list[str], owner: str, kept: bool
) -> None:
    desk.sql("insert into projects (id, name) values ('prj_other', 'other')")
    add_upload(desk)
    desk.sql("update uploads set created_at = now() - interval '25 hours'")
    desk.sql(
        "insert into batches (id, project_id, name, state, source, template, max_in_flight, expires_at)"
        f" values ('bat_1', '{owner}', 'b', 'running', '{{}}', '{{}}', 1, now() + interval '1 day')"
    )
    source = '{"source": {"type": "upload", "upload_id": "upl_1"}}'
    desk.sql(
        "insert into batch_items (batch_id, position, state, item) values ('bat_1', 1, 'listed', cast(:item as jsonb))",
        item=source,
    )

    assert run(desk, deleted) == ({} if kept else {"uploads": 1})
    desk.sql("update batch_items set state = 'submitted'")
    assert run(desk, deleted) == ({"uploads": 1} if kept else {})


def test_frames_go_and_the_summary_stays(desk: Desk, deleted: list[str]) -> None:
    identity = succeeded(desk)
    desk.sql("update results set created_at = now() - interval '91 days'")

    assert run(desk, deleted) == {"frames": 1}
    assert run(desk, deleted) == {}

    assert deleted == [f"evidence/{identity}"]
    with desk.database.transaction() as session:
        track, result = session.get_one(TrackRow, (identity, "trk_0")), session.get_one(ResultRow, identity)
    assert result.report_key is None
    assert result.report["tracks"] == [track.summary]
    assert [track.frame_index, track.time_seconds, track.box, track.score, track.flow_fine] == [[]] * 5


def test_a_finished_job_goes_with_everything_at_its_own_expiry(desk: Desk, deleted: list[str]) -> None:
    identity, open_job = succeeded(desk), desk.submit()
    desk.sql("update jobs set expires_at = now() - interval '1 second'")

    assert run(desk, deleted) == {"jobs": 1}

    assert deleted == [f"evidence/{identity}", f"evidence/{identity}/1/report.json"]
    with desk.database.transaction() as session:
        assert list(session.scalars(select(JobRow.id))) == [open_job]
        assert not session.scalars(select(ResultRow)).all()
        assert not session.scalars(select(TrackRow)).all()


def test_old_events_go_but_none_that_is_still_on_its_way(desk: Desk, deleted: list[str]) -> None:
    add_endpoint(desk)
    for _ in range(2):
        desk.submit()
    desk.sql("update events set created_at = now() - interval '31 days'")
    desk.sql("update deliveries set state = 'failed' where id = (select min(id) from deliveries)")

    assert run(desk, deleted) == {"events": 1}
    with desk.database.transaction() as session:
        assert [delivery.state for delivery in session.scalars(select(DeliveryRow))] == ["pending"]
        assert len(list(session.scalars(select(EventRow)))) == 1


def test_an_event_of_an_erased_job_loses_its_body_when_it_has_arrived(desk: Desk, deleted: list[str]) -> None:
    add_endpoint(desk)
    identity = desk.submit()
    desk.do(progress.request_cancel, PROJECT, identity)
    desk.do(progress.erase, PROJECT, identity)
    assert run(desk, deleted) == {}

    desk.sql("update deliveries set state = 'delivered'")

    assert run(desk, deleted) == {"erased_events": 2}
    assert run(desk, deleted) == {}
    assert {event.body for event in desk.events(identity)} == {""}
    with desk.database.transaction() as session:
        assert not session.scalars(select(DeliveryRow)).all()


def test_answers_go_when_their_keys_may_be_used_anew(desk: Desk, deleted: list[str]) -> None:
    for key in ("a", "b"):
        desk.do(remember, PROJECT, "POST /v1/jobs", key, "f", 1.0)
    desk.sql("update idempotency_keys set expires_at = now() - interval '1 second' where key = 'a'")

    assert run(desk, deleted) == {"answers": 1}


def test_when_the_bucket_does_not_answer_no_row_that_names_an_object_is_lost(desk: Desk) -> None:
    add_upload(desk)
    desk.sql("update uploads set created_at = now() - interval '25 hours'")

    def unavailable(keys: Sequence[str]) -> None:
        raise StorageUnavailable

    with pytest.raises(StorageUnavailable):
        desk.do(KINDS["uploads"], KEEP, unavailable, 500)
    with desk.database.transaction() as session:
        assert session.get(UploadRow, "upl_1") is not None


def test_one_sweep_deletes_no_more_than_its_limit_of_each_kind(desk: Desk, deleted: list[str]) -> None:
    for _ in range(3):
        succeeded(desk)
    desk.sql("update jobs set expires_at = now() - interval '1 second'")

    assert [run(desk, deleted, limit=2).get("jobs", 0) for _ in range(3)] == [2, 1, 0]


def test_an_event_that_only_a_switched_off_endpoint_waits_for_goes_in_the_end(desk: Desk, deleted: list[str]) -> None:
    add_endpoint(desk)
    succeeded(desk)
    desk.sql("update events set created_at = now() - interval '31 days'")
    desk.sql("update deliveries set state = 'pending', created_at = now() - interval '31 days'")

    run(desk, deleted)

    with desk.database.transaction() as session:
        assert session.scalars(select(EventRow)).all() == []
