from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from styleflow.errors import (
    CorruptMedia,
    DeadlineExceeded,
    GpuOutOfMemory,
    JobError,
    PackError,
    SourceUnavailable,
    StyleFlowError,
)
from styleflow.jobs import progress, queries, rescue
from styleflow.jobs.queries import Claim
from styleflow.tables import AttemptRow, JobRow, ResultRow
from styleflow.webhook_tables import EventRow
from tests.worker.conftest import Bench
from worker.execution import as_job_error
from worker.fetch import FetchedVideo


def raise_(error: BaseException) -> Any:
    raise error


def wait_for_beat() -> None:
    """Longer than a heartbeat, so that the lease thread has asked the database."""
    time.sleep(0.3)


def test_a_job_that_is_carried_out_has_its_result_and_its_stored_report(bench: Bench) -> None:
    job_id = bench.submit("some bytes")

    assert bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert (job.state, job.outcome, job.reason, job.score) == ("succeeded", "not_applicable", "no_face", None)
    with bench.database.transaction() as session:
        key = session.get_one(ResultRow, job_id).report_key
    with bench.bucket.open(key) as chunks:
        stored = json.loads(b"".join(chunks))
    assert stored["outcome"] == "not_applicable"
    assert stored["media"]["sha256"] == hashlib.sha256(b"some bytes").hexdigest()
    assert "fetch" in stored["timing_ms"]


def test_a_second_nudge_for_a_finished_job_finds_nothing_to_do(bench: Bench) -> None:
    job_id = bench.submit()
    bench.execution.run(job_id=job_id)

    assert not bench.execution.run(job_id=job_id)
    assert len(bench.analyzer.asked) == 1


def test_a_stale_commit_is_fenced_and_the_job_stays_with_its_new_holder(bench: Bench) -> None:
    """The worker is frozen past its lease, somebody else takes the job, and then the first one tries to settle."""
    job_id = bench.submit()
    taken: list[Claim | None] = []

    def lose_the_lease_unnoticed(video: FetchedVideo) -> None:
        with bench.database.transaction() as session:
            session.execute(update(JobRow).values(lease_expires_at=func.now() - text("interval '1 second'")))
        with bench.database.transaction() as session:
            rescue.sweep(session)
        with bench.database.transaction() as session:
            taken.append(queries.claim(session, worker="another", lease_seconds=60, job_id=job_id))

    bench.analyzer.act = lose_the_lease_unnoticed
    object.__setattr__(bench.execution, "heartbeat_seconds", 30.0)  # no heartbeat may notice before the commit

    bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert taken[0] is not None
    assert (job.state, job.lease_owner, job.lease_token) == ("running", "another", taken[0].token)
    with bench.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(ResultRow)) == 0
        assert session.scalar(select(func.count()).where(EventRow.terminal)) == 0
        ended = session.scalars(select(AttemptRow.ended).order_by(AttemptRow.token)).all()
    assert list(ended) == ["lost", None]


def leaves(kind: type[StyleFlowError]) -> list[type[StyleFlowError]]:
    children = kind.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [kind]


@pytest.mark.parametrize("kind", leaves(JobError), ids=lambda kind: kind.code)
def test_each_way_to_fail_reaches_the_caller_by_its_code_and_never_with_a_score(
    bench: Bench, kind: type[StyleFlowError]
) -> None:
    bench.analyzer.act = lambda video: raise_(kind())
    job_id = bench.submit(max_attempts=1)

    bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert (job.state, job.error["code"], job.error["retryable"]) == ("failed", kind.code, kind.retryable)
    assert (job.outcome, job.verdict, job.score, job.probability) == (None, None, None, None)


def test_the_new_holder_settles_once_after_a_fenced_commit(bench: Bench) -> None:
    test_a_stale_commit_is_fenced_and_the_job_stays_with_its_new_holder(bench)
    with bench.database.transaction() as session:
        job = session.scalars(select(JobRow)).one()
        progress.fail(session, job.id, job.lease_token, CorruptMedia())

    with bench.database.transaction() as session:
        assert session.scalars(select(EventRow.type).where(EventRow.terminal)).all() == ["job.failed"]


def test_a_video_that_cannot_be_decoded_fails_the_job_with_its_code(bench: Bench) -> None:
    job_id = bench.submit()
    bench.analyzer.act = lambda video: raise_(CorruptMedia("no frame could be decoded"))

    bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert job.state == "failed"
    assert job.error == {"code": "corrupt_media", "message": "no frame could be decoded", "retryable": False}
    assert job.score is None


def test_a_source_larger_than_allowed_fails_the_job_as_too_large(bench: Bench) -> None:
    job_id = bench.submit("x" * 1001)

    bench.execution.run(job_id=job_id)

    assert (bench.job(job_id).error or {})["code"] == "too_large"
    assert bench.analyzer.asked == []


def test_a_missing_source_fails_the_job_as_source_not_found(bench: Bench) -> None:
    job_id = bench.submit(source={"type": "upload", "key": "videos/nowhere"})

    bench.execution.run(job_id=job_id)

    assert (bench.job(job_id).error or {})["code"] == "source_not_found"


@pytest.mark.parametrize("pinned", [{"sha256": "0" * 64}, {"size_bytes": 3}, {"etag": '"another"'}])
def test_a_source_that_is_not_the_submitted_one_fails_the_job_as_source_changed(
    bench: Bench, pinned: dict[str, Any]
) -> None:
    job_id = bench.submit(source={"type": "upload", "key": "videos/one", **pinned})

    bench.execution.run(job_id=job_id)

    assert (bench.job(job_id).error or {})["code"] == "source_changed"


@pytest.mark.parametrize("error", [SourceUnavailable(), GpuOutOfMemory(), ValueError("a bug"), MemoryError()])
def test_a_passing_trouble_or_a_bug_is_tried_again_and_never_becomes_a_result(bench: Bench, error: Exception) -> None:
    job_id = bench.submit()
    bench.analyzer.act = lambda video: raise_(error)

    bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert (job.state, job.outcome, job.attempt) == ("queued", None, 1)


def test_a_cancelled_job_stops_at_the_next_checkpoint(bench: Bench) -> None:
    job_id = bench.submit()

    def ask_to_cancel(video: FetchedVideo) -> None:
        with bench.database.transaction() as session:
            progress.request_cancel(session, bench.job(job_id).project_id, job_id)
        wait_for_beat()

    bench.analyzer.act = ask_to_cancel
    bench.execution.run(job_id=job_id)

    assert bench.job(job_id).state == "canceled"


def test_a_worker_that_shuts_down_gives_the_job_back_with_its_attempt(bench: Bench) -> None:
    job_id = bench.submit()
    bench.analyzer.act = lambda video: bench.stopping.set()

    bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert (job.state, job.attempt, job.lease_token) == ("queued", 0, 1)


def test_a_job_whose_deadline_passes_while_it_runs_fails_with_that_code(bench: Bench) -> None:
    job_id = bench.submit()

    def let_the_deadline_pass(video: FetchedVideo) -> None:
        with bench.database.transaction() as session:
            session.execute(update(JobRow).values(deadline=func.now()))
        wait_for_beat()

    bench.analyzer.act = let_the_deadline_pass
    bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert (job.state, (job.error or {})["code"]) == ("failed", "deadline_exceeded")


def test_progress_travels_with_the_heartbeat(bench: Bench) -> None:
    job_id = bench.submit()
    seen: list[dict[str, Any]] = []

    def look(video: FetchedVideo) -> None:
        wait_for_beat()
        seen.append(bench.job(job_id).progress)

    bench.analyzer.act = look
    bench.execution.run(job_id=job_id)

    assert seen[0]["clips_done"] == 1


def test_errors_that_are_not_ours_say_their_kind_and_nothing_else() -> None:
    told = as_job_error(RuntimeError("secret /home/somebody"))

    assert (told.code, told.retryable) == ("internal", True)
    assert "secret" not in str(told)


def test_a_pack_that_is_gone_is_told_as_an_unavailable_model() -> None:
    assert as_job_error(PackError("altered")).code == "model_unavailable"


def test_our_own_errors_are_told_as_they_are() -> None:
    error = DeadlineExceeded()

    assert as_job_error(error) is error


def test_a_result_that_the_database_refuses_for_good_ends_the_attempt_instead_of_being_sent_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit()

    def refused(session: Session, *arguments: Any) -> None:
        session.execute(text("select 'x\\000'::int"))  # a DataError, however often it is asked

    monkeypatch.setattr(progress, "succeed", refused)

    bench.execution.run(job_id=job_id)

    job = bench.job(job_id)
    assert (job.state, job.attempt, job.outcome) == ("queued", 1, None)
