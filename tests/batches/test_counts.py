"""Counts by deltas equal counts by looking, whatever happened and whenever they were folded."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from styleflow.errors import CorruptMedia, NotRetryable
from styleflow.jobs import batch_counts, progress, retention
from styleflow.jobs.queries import Claim
from tests.batches.yard import Yard, item
from tests.jobs.desk import KEEP

MOVES = st.lists(
    st.sampled_from(
        ["feed", "claim", "succeed", "fail", "release", "lose", "cancel job", "retry failed", "tend", "fold", "pause",
         "resume"]
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES, st.booleans())
def test_counts_equal_a_look_at_every_item_after_any_moves(yard: Yard, moves: list[str], cancel: bool) -> None:
    batch = yard.create({"type": "inline", "items": [item(number) for number in range(5)]}, max_in_flight=3)
    yard.expand()
    held: list[Claim] = []
    for move in moves:
        with suppress(NotRetryable):
            make_move(yard, batch, move, held)
        assert yard.counts(batch) == yard.counted(batch), move
    if cancel:
        yard.cancel(batch)
        yard.tend()
        assert yard.counts(batch) == yard.counted(batch)
    yard.desk.sql("update batches set state = 'canceled', finished_at = now() where id = :id", id=batch)
    yard.desk.sql("delete from jobs")


def make_move(yard: Yard, batch: str, move: str, held: list[Claim]) -> None:
    match move:
        case "feed":
            yard.feed()
        case "claim":
            waiting = [job.id for job in yard.jobs(batch) if job.state == "queued"]
            claim = yard.desk.try_claim(waiting[0]) if waiting else None
            held.extend([claim] if claim else [])
        case "succeed" | "fail" | "release" | "lose":
            if held:
                end_attempt(yard, move, held.pop())
        case "cancel job":
            for job in yard.jobs(batch)[:1]:
                yard.desk.do(progress.request_cancel, job.project_id, job.id)
        case "retry failed":
            yard.retry_failed(batch)
        case "tend":
            yard.tend()
        case "fold":
            yard.desk.do(batch_counts.fold, 2)
        case "pause":
            yard.pause(batch)
        case "resume":
            yard.resume(batch)


def end_attempt(yard: Yard, move: str, claim: Claim) -> None:
    if move == "succeed":
        yard.succeed(claim.job_id, claim.token)
    elif move == "fail":
        yard.desk.do(progress.fail, claim.job_id, claim.token, CorruptMedia())
    elif move == "release":
        yard.desk.do(progress.release, claim.job_id, claim.token)
    else:
        yard.desk.expire_lease(claim.job_id)
        yard.desk.try_claim(claim.job_id)


def test_folding_moves_deltas_into_counts_and_changes_nothing_to_see(yard: Yard) -> None:
    batch = yard.create()
    yard.expand()
    yard.feed()
    before = yard.counts(batch)

    while yard.desk.do(batch_counts.fold, 2):
        assert yard.counts(batch) == before

    with yard.desk.database.transaction() as session:
        assert session.execute(text("select count(*) from batch_deltas")).scalar_one() == 0


def test_erasing_a_job_takes_what_its_item_said(yard: Yard) -> None:
    batch = yard.create()
    yard.expand()
    yard.feed()
    yard.settle(batch)
    job = yard.jobs(batch)[0]

    yard.desk.erase(job.id)

    assert yard.items(batch)[0].source is None
    assert yard.counts(batch) == {"succeeded": 3}


def test_a_batch_past_its_time_goes_with_its_items_and_its_jobs_stay(yard: Yard) -> None:
    batch = yard.create()
    yard.expand()
    yard.feed()
    yard.settle(batch)
    yard.tend()
    yard.desk.sql("update batches set expires_at = now() - interval '1 hour'")

    while yard.desk.do(retention.KINDS["batches"], KEEP, 2):
        pass

    with yard.desk.database.transaction() as session:
        assert session.execute(text("select count(*) from batches")).scalar_one() == 0
        assert session.execute(text("select count(*) from batch_items")).scalar_one() == 0
    assert len(yard.jobs(batch)) == 3
