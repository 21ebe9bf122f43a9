"""How many statements the two transactions of each job take: their number is what bounds the rate of claims."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event, func, select

from styleflow.jobs import progress
from styleflow.jobs.queries import claim
from styleflow.webhook_tables import DeliveryRow, WebhookEndpointRow
from tests.jobs.desk import PROJECT, Desk
from tests.jobs.reports import scored_report


@contextmanager
def counting(desk: Desk) -> Iterator[list[str]]:
    statements: list[str] = []

    def before(*seen: object) -> None:
        statements.append(str(seen[2]))

    event.listen(desk.database.engine, "before_cursor_execute", before)
    try:
        yield statements
    finally:
        event.remove(desk.database.engine, "before_cursor_execute", before)


def listen(desk: Desk, *patterns: str) -> None:
    row = WebhookEndpointRow(
        id="whe_1", project_id=PROJECT, url="https://hooks.example.org/x", events=list(patterns), description="",
        state="active", secret_encrypted=b"x",
    )  # fmt: skip
    desk.do(lambda session: session.add(row))


def deliveries(desk: Desk) -> int:
    with desk.database.transaction() as session:
        return session.scalar(select(func.count()).select_from(DeliveryRow)) or 0


def verbs(statements: list[str]) -> list[str]:
    return [statement.split()[0].lower() for statement in statements]


def test_a_claim_reads_the_job_moves_it_and_writes_all_the_rest_at_once(
    desk: Desk,
) -> None:
    listen(desk, "*")
    desk.submit(batch_id="bat_1", batch_position=0)
    before = deliveries(desk)

    with counting(desk) as statements:
        desk.do(claim, worker="w", lease_seconds=60, lanes=("standard",))

    assert verbs(statements) == ["select", "update", "with"]
    assert deliveries(desk) == before + 1


def test_a_settlement_reads_the_job_moves_it_and_writes_all_the_rest_at_once(
    desk: Desk,
) -> None:
    listen(desk, "job.succeeded")
    held = desk.running(batch_id="bat_1", batch_position=0)

    with counting(desk) as statements:
        desk.do(progress.succeed, held.job_id, held.token, scored_report(), "evidence/report.json")

    assert verbs(statements) == ["select", "update", "with"]
    assert [one.type for one in desk.events(held.job_id)][-1] == "job.succeeded"
    assert deliveries(desk) == 1


def test_a_submission_takes_three_writes(desk: Desk) -> None:
    listen(desk, "*")

    with counting(desk) as statements:
        desk.submit()

    # the clock, the endpoints; the job; its event, deliveries and nudge; its usage, with which its quotas are read
    assert verbs(statements) == ["select", "select", "insert", "with", "insert"]


def test_a_cancel_of_a_queued_job_writes_its_row_once(desk: Desk) -> None:
    listen(desk, "*")
    identity = desk.submit()

    with counting(desk) as statements:
        desk.do(progress.request_cancel, PROJECT, identity)

    assert verbs(statements).count("update") == 1
    assert deliveries(desk) == 2
