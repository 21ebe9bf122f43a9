from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from styleflow.errors import Erased
from styleflow.jobs import holds, intake, progress, queries
from styleflow.jobs.idempotency import remember
from styleflow.jobs.keeping import KeptClass, Mode, Retention
from styleflow.jobs.tombstones import class_ended
from styleflow.policy_tables import RelabelingRow
from styleflow.storage.keys import crops_prefix, report_key
from styleflow.tables import JobRow, ResultRow, TrackRow, UploadRow
from styleflow.webhook_tables import DeliveryRow, EventRow
from tests.jobs.desk import AGREED, KEY, PROJECT, Desk
from tests.jobs.reports import crop, scored_report
from tests.jobs.test_progress import add_endpoint, add_upload

ZERO = Retention(mode=Mode.ZERO, source_hours=0, crops_days=0, frames_days=0, results_days=0)
PAST = "now() - interval '1 second'"


def uploaded(desk: Desk) -> dict[str, Any]:
    source = {"type": "upload", "upload_id": add_upload(desk)}
    desk.sql("update uploads set expires_at = now() + interval '1 day'")
    return source


def test_what_is_young_is_kept(desk: Desk) -> None:
    uploaded(desk)
    desk.succeeded(retention=AGREED)
    desk.do(remember, PROJECT, "POST /v1/jobs", "k", "f", 1.0)

    assert desk.sweep() == {}
    assert desk.condemned() == []


def test_an_upload_goes_when_its_time_is_over_and_its_row_says_so_for_a_while(desk: Desk) -> None:
    uploaded(desk)
    desk.sql(f"update uploads set expires_at = {PAST}")

    assert desk.sweep() == {"uploads": 1}
    assert desk.sweep() == {}
    assert desk.condemned() == ["uploads/video"]
    with desk.database.transaction() as session:
        row = session.get_one(UploadRow, "upl_1")
        assert (row.state, row.filename, row.sha256, row.size_bytes) == ("erased", "", None, 0)

    desk.sql("update uploads set expires_at = now() - interval '731 days'")
    assert desk.sweep() == {"erased_uploads": 1}


@pytest.mark.parametrize("claimed", [False, True])
def test_an_old_upload_stays_while_a_job_still_needs_it(desk: Desk, claimed: bool) -> None:
    identity = desk.submit(source=uploaded(desk), retention=AGREED)
    if claimed:
        desk.claim(identity)
    desk.sql(f"update uploads set expires_at = {PAST}")
    assert desk.sweep() == {}

    desk.sql("update jobs set state = 'failed', finished_at = now()")
    desk.sql(f"update uploads set expires_at = {PAST}")
    assert desk.sweep("uploads") == {"uploads": 1}
    assert desk.job(identity).retention["ended"].keys() == {"source"}


@pytest.mark.parametrize(("owner", "kept"), [(PROJECT, True), ("prj_other", False)])
def test_an_old_upload_stays_while_a_batch_of_its_project_has_yet_to_make_a_job_of_it(
    desk: Desk, owner: str, kept: bool
) -> None:
    desk.sql("insert into projects (id, name) values ('prj_other', 'other')")
    uploaded(desk)
    desk.sql(f"update uploads set expires_at = {PAST}")
    desk.sql(
        "insert into batches (id, project_id, name, state, source, template, max_in_flight, expires_at)"
        f" values ('bat_1', '{owner}', 'b', 'running', '{{}}', '{{}}', 1, now() + interval '1 day')"
    )
    source = '{"source": {"type": "upload", "upload_id": "upl_1"}}'
    desk.sql(
        "insert into batch_items (batch_id, position, state, item) values ('bat_1', 1, 'listed', cast(:item as jsonb))",
        item=source,
    )

    assert desk.sweep("uploads") == ({} if kept else {"uploads": 1})
    desk.sql("update batch_items set state = 'submitted'")
    desk.sql(f"update uploads set expires_at = {PAST}")
    assert desk.sweep("uploads") == ({"uploads": 1} if kept else {})


def test_a_job_that_keeps_no_source_takes_its_upload_along_when_it_ends(desk: Desk) -> None:
    shortest = dataclasses.replace(AGREED, source_hours=0)
    source = uploaded(desk)
    identity, other = (desk.submit(source=source, retention=shortest) for _ in range(2))

    desk.do(progress.request_cancel, PROJECT, identity)
    assert desk.condemned() == [], "the other one is still to run"

    desk.do(progress.request_cancel, PROJECT, other)
    assert desk.condemned() == ["uploads/video"]
    assert desk.job(other).retention["ended"].keys() == {"source"}


def test_a_job_that_keeps_its_source_longer_makes_its_upload_stay(desk: Desk) -> None:
    longer = dataclasses.replace(AGREED, source_hours=100)
    identity = desk.submit(source=uploaded(desk), retention=longer)
    desk.do(progress.request_cancel, PROJECT, identity)

    with desk.database.transaction() as session:
        upload = session.get_one(UploadRow, "upl_1")
    assert (upload.expires_at - desk.now()).total_seconds() / 3600 == pytest.approx(100, abs=0.1)
    assert upload.expires_at == desk.job(identity).source_until


def test_crops_frames_and_results_go_each_at_its_time(desk: Desk) -> None:
    identity = desk.succeeded(retention=AGREED)
    job = desk.job(identity)
    ends = {"crops": job.crops_until, "frames": job.frames_until, "results": job.expires_at}
    days = {name: (end - job.finished_at).days for name, end in ends.items()}
    assert days == {"crops": 30, "frames": 90, "results": 400}

    desk.sql(f"update jobs set crops_until = {PAST}")
    assert desk.sweep() == {"crops": 1}
    assert desk.condemned() == [crops_prefix(identity)]

    desk.sql(f"update jobs set frames_until = {PAST}")
    assert desk.sweep() == {"frames": 1}
    assert desk.sweep() == {}
    assert desk.condemned() == sorted([crops_prefix(identity), report_key(identity, 1)])
    assert desk.job(identity).retention["ended"].keys() == {"crops", "frames"}
    told = class_ended(desk.job(identity), KeptClass.FRAMES)
    assert told.details["members"]["erased_class"] == "frames"
    assert told.details["members"]["erased_at"][:10] in str(told)


def test_frames_go_and_the_summary_stays(desk: Desk) -> None:
    identity = desk.succeeded(retention=AGREED)
    desk.sql(f"update jobs set frames_until = {PAST}")

    desk.sweep()

    with desk.database.transaction() as session:
        track, result = session.get_one(TrackRow, (identity, "trk_0")), session.get_one(ResultRow, identity)
    assert result.report_key is None
    assert result.report["tracks"] == [track.summary]
    assert [track.frame_index, track.time_seconds, track.box, track.score, track.flow_fine] == [[]] * 5


def test_what_a_picture_showed_was_worth_goes_with_the_frames(desk: Desk) -> None:
    held = desk.running(retention=AGREED)
    report = dataclasses.replace(scored_report(), crops=(crop(1), crop(2)))
    desk.do(progress.succeed, held.job_id, held.token, report, report_key(held.job_id, held.token))
    desk.sql(f"update jobs set frames_until = {PAST}")

    desk.sweep()

    with desk.database.transaction() as session:
        kept = session.get_one(ResultRow, held.job_id).report["crops"]
    assert [one["crop_id"] for one in kept] == ["crop-1", "crop-2"]
    assert {(one["score"], one["attention"]) for one in kept} == {(None, None)}


def test_a_finished_job_goes_with_everything_at_its_own_expiry_and_is_remembered_as_erased(desk: Desk) -> None:
    identity, open_job = desk.succeeded(retention=AGREED, client_ref="who"), desk.submit()
    desk.sql(f"update jobs set expires_at = {PAST}")

    assert desk.sweep() == {"jobs": 1}

    with desk.database.transaction() as session:
        assert list(session.scalars(select(JobRow.id))) == [open_job]
        assert not session.scalars(select(ResultRow)).all()
        assert not session.scalars(select(TrackRow)).all()
        assert {event.body for event in session.scalars(select(EventRow).filter_by(job_id=identity))} == {""}
    with pytest.raises(Erased, match="kept for their time"):
        desk.do(queries.get_job, PROJECT, identity)

    desk.sql("update tombstones set erased_at = now() - interval '731 days'")
    assert desk.sweep() == {"proofs": 1}


def test_a_relabelling_that_is_done_goes_with_the_proofs_and_one_under_way_stays(desk: Desk) -> None:
    for identity, finished in (("rlb_old", "731"), ("rlb_young", "729"), ("rlb_open", "null")):
        desk.sql(
            "insert into relabelings (id, project_id, policy, revision, created_at, finished_at)"
            f" values ('{identity}', '{PROJECT}', 'strict', 1, now() - interval '800 days',"
            f" now() - {finished} * interval '1 day')"
        )

    assert desk.sweep() == {"proofs": 1}

    with desk.database.transaction() as session:
        assert set(session.scalars(select(RelabelingRow.id))) == {"rlb_young", "rlb_open"}


def test_jobs_of_an_earlier_version_get_the_defaults_and_keep_the_day_that_was_theirs(desk: Desk) -> None:
    identity = desk.succeeded()
    before = desk.job(identity)
    assert (before.retention, before.frames_until) == (None, None)

    assert desk.sweep("undated", "frames") == {"undated": 1}
    assert desk.sweep("undated") == {}

    job = desk.job(identity)
    assert (job.frames_until - job.finished_at).days == 90
    assert job.expires_at == before.expires_at


def test_a_job_that_an_earlier_version_ended_gets_the_dates_that_were_agreed(desk: Desk) -> None:
    identity = desk.succeeded(retention=ZERO)
    desk.sql("update jobs set dated_at = null, zero_at = null")

    assert desk.sweep("undated") == {"undated": 1}

    job = desk.job(identity)
    assert job.zero_at - job.finished_at == timedelta(minutes=15)
    assert job.expires_at == job.zero_at


def test_what_was_stripped_of_its_source_is_not_tried_again(desk: Desk) -> None:
    identity = desk.submit(retention=dataclasses.replace(ZERO, results_days=1))
    desk.do(progress.request_cancel, PROJECT, identity)
    assert desk.do(lambda session: intake.retry_of(session, session.get_one(JobRow, identity)).state) == "queued"
    desk.sql(f"update jobs set zero_at = {PAST}")
    desk.sweep("zero")

    with pytest.raises(Erased, match="source"):
        desk.do(lambda session: intake.retry_of(session, session.get_one(JobRow, identity)))


@pytest.mark.parametrize("kind", ["crops", "frames", "jobs", "zero", "uploads"])
def test_no_class_of_a_held_job_is_swept_until_it_is_released(desk: Desk, kind: str) -> None:
    identity = desk.succeeded(source=uploaded(desk), retention=AGREED)
    desk.do(holds.place, PROJECT, identity, "a case", KEY)
    desk.sql(f"update jobs set crops_until = {PAST}, frames_until = {PAST}, expires_at = {PAST}, zero_at = {PAST}")
    desk.sql(f"update uploads set expires_at = {PAST}")
    desk.sql("update events set created_at = now() - interval '31 days'")

    assert desk.sweep() == {}
    assert desk.condemned() == []

    desk.sql(f"update uploads set expires_at = {PAST}")
    desk.do(holds.release, PROJECT, identity, KEY)
    assert desk.sweep(kind) == {kind: 1}


def test_a_released_job_of_no_source_lets_go_of_its_upload_at_once(desk: Desk) -> None:
    shortest = dataclasses.replace(AGREED, source_hours=0)
    identity = desk.submit(source=uploaded(desk), retention=shortest)
    desk.do(holds.place, PROJECT, identity, "a case", KEY)
    desk.do(progress.request_cancel, PROJECT, identity)
    assert desk.condemned() == []

    desk.do(holds.release, PROJECT, identity, KEY)

    assert desk.condemned() == ["uploads/video"]


def test_old_events_go_but_none_that_is_still_on_its_way(desk: Desk) -> None:
    add_endpoint(desk)
    for _ in range(2):
        desk.submit()
    desk.sql("update events set created_at = now() - interval '31 days'")
    desk.sql("update deliveries set state = 'failed' where id = (select min(id) from deliveries)")

    assert desk.sweep() == {"events": 1}
    with desk.database.transaction() as session:
        assert [delivery.state for delivery in session.scalars(select(DeliveryRow))] == ["pending"]
        assert len(list(session.scalars(select(EventRow)))) == 1


def test_an_event_of_an_erased_job_goes_when_it_has_arrived(desk: Desk) -> None:
    add_endpoint(desk)
    identity = desk.submit()
    desk.do(progress.request_cancel, PROJECT, identity)
    desk.erase(identity)
    assert desk.sweep("erased_events") == {}

    desk.sql("update deliveries set state = 'delivered'")

    assert desk.sweep("erased_events") == {"erased_events": 2}
    assert desk.sweep("erased_events") == {}
    assert {event.body for event in desk.events(identity)} == {""}
    with desk.database.transaction() as session:
        assert not session.scalars(select(DeliveryRow)).all()


def test_answers_go_when_their_keys_may_be_used_anew(desk: Desk) -> None:
    for key in ("a", "b"):
        desk.do(remember, PROJECT, "POST /v1/jobs", key, "f", 1.0)
    desk.sql(f"update idempotency_keys set expires_at = {PAST} where key = 'a'")

    assert desk.sweep() == {"answers": 1}


def test_one_sweep_deletes_no_more_than_its_limit_of_each_kind(desk: Desk) -> None:
    for _ in range(3):
        desk.succeeded(retention=AGREED)
    desk.sql(f"update jobs set expires_at = {PAST}")

    assert [desk.sweep("jobs", limit=2).get("jobs", 0) for _ in range(3)] == [2, 1, 0]


def test_an_event_that_only_a_switched_off_endpoint_waits_for_goes_in_the_end(desk: Desk) -> None:
    add_endpoint(desk)
    desk.succeeded(retention=AGREED)
    desk.sql("update events set created_at = now() - interval '31 days'")
    desk.sql("update deliveries set state = 'pending', created_at = now() - interval '31 days'")

    desk.sweep()

    with desk.database.transaction() as session:
        assert session.scalars(select(EventRow)).all() == []
