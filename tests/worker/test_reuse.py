"""A job that may reuse an earlier result, carried out by a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from styleflow import api_keys
from styleflow.errors import CorruptMedia, LeaseLost
from styleflow.jobs import reuse
from styleflow.jobs.erasures import order_job
from styleflow.jobs.keeping import Mode, Retention
from styleflow.jobs.object_erasures import ObjectEraser
from styleflow.report import VideoReport
from styleflow.tables import JobRow, ResultRow, TrackRow
from styleflow.webhook_tables import EventRow
from tests.jobs.desk import AGREED
from tests.jobs.reports import scored_report
from tests.worker.conftest import Bench
from worker.fetch import FetchedVideo

ZERO = Retention(mode=Mode.ZERO, source_hours=0, crops_days=0, frames_days=0, results_days=0)


@pytest.fixture
def scoring(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The bench, with an analyzer that gives a score and counts."""

    def analyze(video: FetchedVideo, model: str, options: Any, **_: Any) -> VideoReport:
        bench.analyzer.asked.append(model)
        bench.analyzer.act(video)
        report = scored_report()
        media = replace(report.media, sha256=video.sha256)
        return replace(report, media=media, pipeline=bench.analyzer.pipeline(model))

    monkeypatch.setattr(bench.analyzer, "analyze", analyze)
    monkeypatch.setattr(
        bench.analyzer,
        "pipeline",
        lambda model: replace(scored_report().pipeline, code_version=bench.analyzer.code_version),
    )
    return bench


def done(bench: Bench, text: str = "a video", **more: Any) -> str:
    job_id = bench.submit(text, **more)
    assert bench.execution.run(job_id=job_id)
    return job_id


def test_the_same_bytes_are_judged_once_where_reuse_is_asked_for(scoring: Bench) -> None:
    first = done(scoring, dedupe="reuse")
    second = done(scoring, dedupe="reuse")

    assert len(scoring.analyzer.asked) == 1
    job, earlier = scoring.job(second), scoring.job(first)
    assert (job.state, job.deduplicated_from, earlier.deduplicated_from) == ("succeeded", first, None)
    for name in ("outcome", "verdict", "score", "probability", "media", "pipeline", "top_segments"):
        assert getattr(job, name) == getattr(earlier, name), name
    with scoring.database.transaction() as session:
        results = {row.job_id: row for row in session.scalars(select(ResultRow))}
        tracks = session.scalars(select(TrackRow).order_by(TrackRow.job_id)).all()
        told = session.scalars(select(EventRow.type).where(EventRow.job_id == second).order_by(EventRow.sequence)).all()
    assert results[first].report == results[second].report
    assert results[first].report_key != results[second].report_key
    assert [track.job_id for track in tracks] == sorted([first, second])
    assert tracks[0].score == tracks[1].score
    assert list(told) == ["job.queued", "job.running", "job.succeeded"]


def test_each_job_owns_its_evidence_so_that_erasing_one_leaves_the_other(scoring: Bench) -> None:
    first = done(scoring, dedupe="reuse")
    second = done(scoring, dedupe="reuse")
    with scoring.database.transaction() as session:
        kept = session.get_one(ResultRow, second).report_key
        order_job(session, scoring.job(first).project_id, first, "key_test")
    ObjectEraser(database=scoring.database, bucket=scoring.bucket).erase_due()

    with scoring.bucket.open(str(kept)) as chunks:
        assert b"".join(chunks)
    third = done(scoring, dedupe="reuse")
    assert scoring.job(third).deduplicated_from == second
    assert scoring.job(first).content_key is None


@pytest.mark.parametrize(
    "change",
    [
        lambda bench: {"dedupe": "reuse", "options": {"sampling": {"mode": "full"}}},
        lambda bench: {"dedupe": "reuse", "text": "another video"},
        lambda bench: {"dedupe": "force"},
        lambda bench: {"dedupe": "off"},
        lambda bench: {"dedupe": "reuse", "project_id": stranger(bench)},
        lambda bench: setattr(bench.analyzer, "code_version", "later") or {"dedupe": "reuse"},
    ],
    ids=["other options", "other bytes", "forced", "off", "other project", "other code"],
)
def test_what_is_not_the_same_or_not_asked_for_is_judged_anew(
    scoring: Bench, change: Callable[[Bench], dict[str, Any]]
) -> None:
    done(scoring, dedupe="reuse")

    second = done(scoring, **change(scoring))

    assert len(scoring.analyzer.asked) == 2
    assert scoring.job(second).deduplicated_from is None


def stranger(bench: Bench) -> str:
    with bench.database.transaction() as session:
        return api_keys.ensure_project(session, "strangers").id


def test_a_job_without_dedupe_offers_nothing(scoring: Bench) -> None:
    done(scoring, dedupe="off")

    done(scoring, dedupe="reuse")

    assert len(scoring.analyzer.asked) == 2


def test_a_failure_is_never_reused(scoring: Bench) -> None:
    def refuse(video: FetchedVideo) -> None:
        raise CorruptMedia

    scoring.analyzer.act = refuse
    failed = done(scoring, dedupe="reuse")
    scoring.analyzer.act = lambda video: None

    second = done(scoring, dedupe="reuse")

    assert scoring.job(failed).state == "failed"
    assert (scoring.job(second).state, scoring.job(second).deduplicated_from) == ("succeeded", None)


def test_an_earlier_result_that_is_erased_while_it_is_copied_is_not_used(
    scoring: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = done(scoring, dedupe="reuse")
    found = reuse.find_earlier

    def find_then_lose(session: Any, project_id: str, key: bytes) -> reuse.Earlier | None:
        earlier = found(session, project_id, key)
        with scoring.database.transaction() as other:
            order_job(other, project_id, first, "key_test")  # the rows go; the object is still there to be copied
        return earlier

    monkeypatch.setattr("worker.execution.find_earlier", find_then_lose)

    second = done(scoring, dedupe="reuse")

    assert len(scoring.analyzer.asked) == 2
    assert (scoring.job(second).state, scoring.job(second).deduplicated_from) == ("succeeded", None)
    with scoring.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(ResultRow)) == 1


def test_an_earlier_report_that_is_gone_from_the_bucket_is_not_used(scoring: Bench) -> None:
    first = done(scoring, dedupe="reuse")
    with scoring.database.transaction() as session:
        scoring.bucket.delete([str(session.get_one(ResultRow, first).report_key)])

    second = done(scoring, dedupe="reuse")

    assert (len(scoring.analyzer.asked), scoring.job(second).deduplicated_from) == (2, None)


def test_a_worker_whose_lease_is_gone_settles_nothing_from_an_earlier_result(scoring: Bench) -> None:
    first = done(scoring, dedupe="reuse")
    second = scoring.submit(dedupe="reuse")
    with scoring.database.transaction() as session:
        key = str(session.get_one(ResultRow, first).report_key)

    with pytest.raises(LeaseLost), scoring.database.transaction() as session:
        reuse.settle_from(session, second, 7, reuse.Earlier(first, key), "evidence/x/7/report.json")

    assert scoring.job(second).state == "queued"


def test_the_key_of_a_result_knows_its_parts_and_not_their_order() -> None:
    pipeline = scored_report().pipeline
    one = reuse.content_key("ab" * 32, pipeline, {"faces": {"max_tracks": 2}, "region": {"start_ms": 1, "end_ms": 9}})
    two = reuse.content_key("ab" * 32, pipeline, {"region": {"end_ms": 9, "start_ms": 1}, "faces": {"max_tracks": 2}})

    assert one == two
    assert one != reuse.content_key("ab" * 32, pipeline, {})


def test_words_that_were_put_on_the_earlier_job_since_are_not_taken_over(scoring: Bench) -> None:
    first = done(scoring, dedupe="reuse")
    with scoring.database.transaction() as session:
        job = session.get_one(JobRow, first)
        found, job.verdict = job.verdict, "no_evidence"
        job.policy, job.policy_revision = "strict", 2
        job.policy_thresholds = {"policy": "strict@2", "weak": 0.9, "suspicious": 0.95, "strong": 0.99}

    second = scoring.job(done(scoring, dedupe="reuse"))

    assert (second.deduplicated_from, second.verdict, second.policy) == (first, found, "default")


def test_a_job_under_another_policy_is_judged_by_its_own_words(scoring: Bench) -> None:
    done(scoring, dedupe="reuse")
    words = {"policy": "mild@1", "weak": 0.1, "suspicious": 0.2, "strong": 0.3}

    second = scoring.job(done(scoring, dedupe="reuse", policy="mild", policy_revision=1, policy_thresholds=words))

    assert (second.deduplicated_from, second.verdict) == (None, "strong")
    with scoring.database.transaction() as session:
        assert session.get_one(ResultRow, second.id).report["thresholds"] == words


def test_zero_retention_takes_an_earlier_answer_keeps_no_evidence_and_offers_nothing(scoring: Bench) -> None:
    first = done(scoring, dedupe="reuse")
    before = {found.key for found in scoring.bucket.list("evidence/")}

    second = scoring.job(done(scoring, dedupe="reuse", retention=ZERO))

    earlier = scoring.job(first)
    assert len(scoring.analyzer.asked) == 1
    assert (second.state, second.verdict, second.probability) == ("succeeded", earlier.verdict, earlier.probability)
    assert (second.media, second.content_key, second.deduplicated_from) == (None, None, None)
    assert second.zero_at is not None
    assert {found.key for found in scoring.bucket.list("evidence/")} == before
    with scoring.database.transaction() as session:
        assert session.get(ResultRow, second.id) is None


def test_the_result_of_a_job_of_zero_retention_is_not_there_to_be_reused(scoring: Bench) -> None:
    first = scoring.job(done(scoring, dedupe="reuse", retention=ZERO))
    second = scoring.job(done(scoring, dedupe="reuse"))

    assert (first.content_key, second.deduplicated_from) == (None, None)
    assert len(scoring.analyzer.asked) == 2


def test_a_job_that_was_settled_by_reuse_keeps_what_was_agreed_for_itself(scoring: Bench) -> None:
    done(scoring, dedupe="reuse")
    second = scoring.job(done(scoring, dedupe="reuse", retention=replace(AGREED, frames_days=7)))

    assert second.deduplicated_from is not None
    assert second.finished_at is not None
    assert second.frames_until is not None
    assert (second.frames_until - second.finished_at).days == 7
