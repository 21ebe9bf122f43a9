from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from styleflow.database import JOB_CHANNEL
from styleflow.errors import (
    CorruptMedia,
    DependencyUnavailable,
    LeaseLost,
    NotFound,
    SourceUnavailable,
)
from styleflow.jobs import progress
from styleflow.jobs.state import JobState
from styleflow.tables import AttemptRow, ResultRow, TrackRow, UploadRow
from styleflow.webhook_tables import WebhookEndpointRow
from styleflow.webhooks.announce import announce
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import scored_report

Write = Callable[[Session, str, int], Any]

WRITES: dict[str, Write] = {
    "heartbeat": lambda session, job_id, token: progress.heartbeat(session, job_id, token, 60, {"phase": "x"}),
    "succeed": lambda session, job_id, token: progress.succeed(session, job_id, token, scored_report(), "key"),
    "fail": lambda session, job_id, token: progress.fail(session, job_id, token, CorruptMedia()),
    "retry": lambda session, job_id, token: progress.fail(session, job_id, token, SourceUnavailable()),
    "cancel": progress.cancel,
    "release": progress.release,
}


def everything(desk: Desk, job_id: str) -> tuple[object, ...]:
    """All that a worker could have written about the job."""

    def rows(session: Session) -> list[object]:
        tables = (ResultRow, TrackRow, AttemptRow)
        found = [row for table in tables for row in session.scalars(select(table).filter_by(job_id=job_id))]
        return [{k: v for k, v in vars(row).items() if not k.startswith("_")} for row in found]

    job = {k: v for k, v in vars(desk.job(job_id)).items() if not k.startswith("_")}
    return job, desk.do(rows), [event.id for event in desk.events(job_id)], desk.nudge(job_id) is None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_worker_whose_job_was_taken_over_writes_nothing(desk: Desk, write: Write) -> None:
    stale = desk.running()
    desk.expire_lease(stale.job_id)
    desk.claim(stale.job_id, worker="w2")
    before = everything(desk, stale.job_id)

    with pytest.raises(LeaseLost):
        desk.do(write, stale.job_id, stale.token)

    assert everything(desk, stale.job_id) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("settle", [WRITES["succeed"], WRITES["fail"], WRITES["cancel"]], ids=["ok", "fail", "cancel"])
def test_a_settled_job_is_never_written_again_even_with_the_right_token(
    desk: Desk, settle: Write, write: Write
) -> None:
    held = desk.running()
    desk.do(settle, held.job_id, held.token)
    before = everything(desk, held.job_id)

    with pytest.raises(LeaseLost):
        desk.do(write, held.job_id, held.token)

    assert everything(desk, held.job_id) == before


def test_of_sixteen_commits_with_the_same_token_one_settles(desk: Desk) -> None:
    held = desk.running()

    def commit(_: int) -> bool:
        try:
            desk.do(progress.succeed, held.job_id, held.token, scored_report(), "key")
        except LeaseLost:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(commit, range(16))).count(True) == 1
    assert [event.type for event in desk.events(held.job_id)].count("job.succeeded") == 1


def test_the_database_itself_refuses_a_second_result_and_a_second_terminal_event(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.succeed, held.job_id, held.token, scored_report(), "key")

    with pytest.raises(IntegrityError, match="pk_results"):
        desk.do(lambda s: s.add(ResultRow(job_id=held.job_id, token=99, report={}, report_key="other")))
    with pytest.raises(IntegrityError, match="uq_events_terminal"):
        desk.do(announce, desk.job(held.job_id), "job.failed")


def test_a_heartbeat_renews_the_lease_and_changes_nothing_that_a_caller_sees(desk: Desk) -> None:
    held = desk.running()
    desk.expire_lease(held.job_id)
    version = desk.job(held.job_id).row_version

    beat = desk.do(progress.heartbeat, held.job_id, held.token, 30, None)

    job = desk.job(held.job_id)
    assert beat == progress.Beat(cancel_requested=False, deadline_passed=False)
    assert job.row_version == version
    assert job.lease_expires_at is not None
    assert timedelta(seconds=20) < job.lease_expires_at - desk.now() <= timedelta(seconds=30)


def test_progress_is_visible_once_and_again_only_when_it_changed(desk: Desk) -> None:
    held = desk.running()
    version = desk.job(held.job_id).row_version

    for clips in (1, 1, 2):
        desk.do(progress.heartbeat, held.job_id, held.token, 60, {"phase": "analysing", "clips_done": clips})

    job = desk.job(held.job_id)
    assert job.progress == {"phase": "analysing", "clips_done": 2}
    assert job.row_version == version + 2


def test_a_heartbeat_tells_of_a_requested_cancel_and_of_a_passed_deadline(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.request_cancel, PROJECT, held.job_id)
    desk.pass_deadline(held.job_id)

    beat = desk.do(progress.heartbeat, held.job_id, held.token, 60, None)

    assert beat == progress.Beat(cancel_requested=True, deadline_passed=True)


def test_a_success_stores_the_report_and_says_so_on_the_job(desk: Desk) -> None:
    held = desk.running()

    desk.do(progress.succeed, held.job_id, held.token, scored_report(frames=3), "evidence/key")

    job, (attempt,) = desk.job(held.job_id), desk.attempts(held.job_id)
    assert (job.state, job.outcome, job.verdict, job.score, job.probability) == (
        "succeeded",
        "scored",
        "suspicious",
        1.25,
        0.75,
    )
    assert job.media is not None
    assert job.media["codec"] == "h264"
    assert job.pipeline is not None
    assert job.pipeline["pack"] == "styleflow"
    assert (job.lease_owner, job.lease_expires_at) == (None, None)
    assert job.finished_at is not None
    assert (attempt.ended, attempt.error_code) == ("succeeded", None)
    assert [event.type for event in desk.events(held.job_id)][-1] == "job.succeeded"


def test_frames_are_columns_of_their_track_and_not_part_of_the_stored_summary(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.succeed, held.job_id, held.token, scored_report(frames=3), "evidence/key")

    with desk.database.transaction() as session:
        result = session.get_one(ResultRow, held.job_id)
        track = session.get_one(TrackRow, (held.job_id, "trk_0"))

    assert (result.report_key, result.token) == ("evidence/key", held.token)
    assert result.report["tracks"] == [track.summary]
    assert "frames" not in track.summary
    assert track.summary["clips"][0]["logit"] == 1.25
    assert (track.position, track.frame_index, track.time_seconds) == (0, [0, 1, 2], [0.0, 0.04, 0.08])
    assert track.box == [0.0, 1.0, 2.0, 3.0, 1.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0]
    assert (track.score, track.attention) == ([0.5, 0.5, 0.5], [None, None, None])


def test_the_commit_of_a_terminal_state_wakes_whoever_waits_for_the_job(desk: Desk) -> None:
    held = desk.running()
    with desk.database.listener() as connection:
        connection.execute(f"listen {JOB_CHANNEL}")
        desk.do(progress.succeed, held.job_id, held.token, scored_report(), "key")

        assert [note.payload for note in connection.notifies(timeout=5, stop_after=1)] == [held.job_id]


def test_a_permanent_error_fails_the_job_at_once(desk: Desk) -> None:
    held = desk.running()

    state = desk.do(progress.fail, held.job_id, held.token, CorruptMedia("It breaks off.", decoded_frames=7, raw=b""))

    job, (attempt,) = desk.job(held.job_id), desk.attempts(held.job_id)
    assert state is JobState.FAILED
    assert job.state == "failed"
    assert job.error == {
        "code": "corrupt_media",
        "message": "It breaks off.",
        "retryable": False,
        "details": {"decoded_frames": 7},
    }
    assert (attempt.ended, attempt.error_code) == ("failed", "corrupt_media")
    assert desk.nudge(held.job_id) is None


def test_a_transient_error_queues_the_job_again_after_a_backoff(desk: Desk) -> None:
    held = desk.running()

    state = desk.do(progress.fail, held.job_id, held.token, SourceUnavailable())

    job, nudge, (attempt,) = desk.job(held.job_id), desk.nudge(held.job_id), desk.attempts(held.job_id)
    assert state is JobState.QUEUED
    assert (job.state, job.error, job.attempt, job.crash_count) == ("queued", None, 1, 0)
    assert attempt.finished_at is not None
    assert attempt.finished_at <= job.run_at <= attempt.finished_at + timedelta(seconds=10)
    assert nudge is not None
    assert (nudge.run_at, nudge.published_at) == (job.run_at, None)
    assert (attempt.ended, attempt.error_code) == ("retried", "source_unavailable")


def test_a_transient_error_at_the_last_attempt_fails_the_job(desk: Desk) -> None:
    held = desk.running(max_attempts=1)

    assert desk.do(progress.fail, held.job_id, held.token, DependencyUnavailable()) is JobState.FAILED
    assert desk.job(held.job_id).error == {
        "code": "dependency_unavailable",
        "message": "A service that this one depends on did not answer.",
        "retryable": True,
    }


def test_a_released_job_is_due_at_once_and_its_attempt_is_not_counted(desk: Desk) -> None:
    held = desk.running(max_attempts=1)

    desk.do(progress.release, held.job_id, held.token)

    job, nudge = desk.job(held.job_id), desk.nudge(held.job_id)
    assert (job.state, job.attempt, job.lease_token) == ("queued", 0, 1)
    assert nudge is not None
    assert nudge.run_at == job.run_at <= desk.now()
    again = desk.claim(held.job_id)
    assert (again.attempt, again.token) == (1, 2)


@pytest.mark.parametrize("write", [WRITES["retry"], WRITES["release"]], ids=["transient error", "release"])
def test_a_job_whose_cancel_was_requested_does_not_go_back_to_the_queue(desk: Desk, write: Write) -> None:
    held = desk.running()
    desk.do(progress.request_cancel, PROJECT, held.job_id)

    desk.do(write, held.job_id, held.token)

    assert desk.job(held.job_id).state == "canceled"
    assert desk.job(held.job_id).error is None
    assert desk.nudge(held.job_id) is None


def test_a_cancel_of_a_queued_job_takes_effect_at_once(desk: Desk) -> None:
    identity = desk.submit()

    job = desk.do(progress.request_cancel, PROJECT, identity)

    assert (job.state, job.row_version) == ("canceled", 2)
    assert job.finished_at is not None
    assert desk.nudge(identity) is None
    assert [event.type for event in desk.events(identity)] == ["job.queued", "job.canceled"]


def test_a_cancel_of_a_running_job_is_a_request_that_its_worker_carries_out(desk: Desk) -> None:
    held = desk.running()

    first, second = (desk.do(progress.request_cancel, PROJECT, held.job_id) for _ in range(2))
    assert (first.state, first.row_version) == ("running", 3)
    assert (second.cancel_requested_at, second.row_version) == (first.cancel_requested_at, 3)

    desk.do(progress.cancel, held.job_id, held.token)
    assert desk.job(held.job_id).state == "canceled"
    assert [attempt.ended for attempt in desk.attempts(held.job_id)] == ["canceled"]


def test_a_cancel_of_a_finished_job_changes_nothing(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.succeed, held.job_id, held.token, scored_report(), "key")
    before = everything(desk, held.job_id)

    assert desk.do(progress.request_cancel, PROJECT, held.job_id).state == "succeeded"
    assert everything(desk, held.job_id) == before


def test_another_projects_job_cannot_be_canceled(desk: Desk) -> None:
    identity = desk.submit()

    with pytest.raises(NotFound):
        desk.do(progress.request_cancel, "prj_other", identity)


def add_upload(desk: Desk) -> str:
    row = UploadRow(
        id="upl_1",
        project_id=PROJECT,
        state="complete",
        filename="a.mp4",
        content_type="video/mp4",
        size_bytes=1,
        key="uploads/video",
        expires_at=desk.now(),
    )
    desk.do(lambda session: session.add(row))
    return "upl_1"


def add_endpoint(desk: Desk) -> None:
    row = WebhookEndpointRow(
        id="whe_1",
        project_id=PROJECT,
        url="https://example.org",
        events=["*"],
        description="",
        secret_encrypted=b"x",
        state="active",
    )
    desk.do(lambda session: session.add(row))


def test_a_job_that_succeeded_says_how_many_clips_were_judged(desk: Desk) -> None:
    job = desk.job(desk.succeeded())

    assert job.progress == {"phase": "done", "fraction": 1.0, "clips_done": 1, "clips_total": 1}


def test_a_message_that_the_database_cannot_hold_fails_the_job_with_its_own_code(desk: Desk) -> None:
    held = desk.running()

    desk.do(progress.fail, held.job_id, held.token, CorruptMedia("bad \x00 stream", atom="\x00oov"))

    error = desk.job(held.job_id).error
    assert error is not None
    assert (error["code"], error["message"]) == ("corrupt_media", "bad \ufffd stream")
    assert error["details"] == {"atom": "\ufffdoov"}
