"""The record of administrative acts: whole, or the first event that does not fit is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from styleflow import audit
from styleflow.audit import GENESIS, AuditFilters
from styleflow.database import Database
from styleflow.tables import ProjectRow
from styleflow.tenant_tables import AuditEventRow
from tests.jobs.desk import PROJECT, Desk


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def record(desk: Desk, action: str = "key.created", target: str = "key_1", **details: Any) -> AuditEventRow:
    event: AuditEventRow = desk.do(audit.record, PROJECT, "key_0", action, target, details)
    return event


def verified(desk: Desk) -> audit.Finding:
    found: audit.Finding = desk.do(audit.verify, PROJECT)
    return found


def test_each_event_holds_the_hash_of_the_one_before(desk: Desk) -> None:
    first, second = record(desk, name="é\n", scopes=["a", "b"], nothing=None), record(desk, "key.revoked")

    assert (first.sequence, first.previous_hash) == (1, GENESIS)
    assert (second.sequence, second.previous_hash) == (2, first.hash)
    found = verified(desk)
    assert (found.events, found.head_sequence, found.head_hash, found.broken) == (2, 2, second.hash, None)


def test_a_project_of_which_nothing_is_recorded_is_whole(desk: Desk) -> None:
    assert verified(desk).broken is None


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'key_9'",
        "action = 'key.revoked'",
        "target = 'key_9'",
        """details = '{"name": "other"}'""",
        "created_at = created_at + interval '1 millisecond'",
        "id = 'aud_x'",
        "hash = decode(repeat('00', 32), 'hex')",
    ],
)
def test_an_event_that_was_altered_is_named(desk: Desk, change: str) -> None:
    events = [record(desk, name="ci") for _ in range(4)]

    desk.sql(f"update audit_events set {change} where sequence = 2")

    broken = verified(desk).broken
    assert broken is not None
    assert broken.startswith("event 2 (")
    assert verified(desk).events == 1
    assert events[1].sequence == 2


def test_an_altered_event_whose_hash_was_made_anew_breaks_the_next_one(desk: Desk) -> None:
    for _ in range(3):
        record(desk)
    with desk.database.transaction() as session:
        event = session.get_one(AuditEventRow, (PROJECT, 2))
        event.actor = "key_9"
        event.hash = audit.content_hash(event)

    assert str(verified(desk).broken).startswith("event 3 (")


@pytest.mark.parametrize(
    ("gone", "named"), [(1, "event 1: is missing"), (2, "event 2: is missing"), (3, "event 3: is")]
)
def test_an_event_that_was_taken_out_is_missed(desk: Desk, gone: int, named: str) -> None:
    for _ in range(3):
        record(desk)

    desk.sql("delete from audit_events where sequence = :gone", gone=gone)

    assert str(verified(desk).broken).startswith(named)


def test_what_is_dropped_for_its_age_leaves_a_chain_that_can_be_verified(desk: Desk) -> None:
    for number in range(6):
        record(desk, target=f"key_{number}")
    desk.sql("update audit_events set created_at = created_at - interval '800 days' where sequence <= 4")

    assert desk.do(audit.drop_old, 730, 3) == 3
    assert desk.do(audit.drop_old, 730, 3) == 1
    assert desk.do(audit.drop_old, 730, 3) == 0

    assert (verified(desk).events, verified(desk).broken) == (2, None)
    record(desk)
    assert (verified(desk).events, verified(desk).head_sequence) == (3, 7)
    desk.sql("delete from audit_events where sequence = 5")
    assert str(verified(desk).broken).startswith("event 5: is missing")


def test_of_many_at_once_each_follows_another(desk: Desk) -> None:
    with ThreadPoolExecutor(8) as pool:
        events = list(pool.map(lambda _: record(desk), range(24)))

    assert sorted(event.sequence for event in events) == list(range(1, 25))
    assert verified(desk).broken is None


def test_what_is_rolled_back_was_never_recorded(desk: Desk) -> None:
    record(desk)
    with desk.database.transaction() as session:
        audit.record(session, PROJECT, "key_0", "key.created", "key_1")
        session.rollback()

    assert record(desk).sequence == 2
    assert verified(desk).broken is None


def test_projects_have_chains_of_their_own(desk: Desk) -> None:
    with desk.database.transaction() as session:
        session.add(ProjectRow(id="prj_other", name="other"))
    record(desk)

    other = desk.do(audit.record, "prj_other", "key_0", "key.created", "key_1")

    assert other.sequence == 1
    assert [event.id for event in desk.do(audit.list_events, "prj_other", AuditFilters(), 10)] == [other.id]


@pytest.mark.parametrize("details", [{"secret": "x"}, {"a": [{"webhook_secret": 1}]}, {"Token": ""}, {"x": 1.5}])
def test_secrets_and_fractions_are_not_recorded(desk: Desk, details: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="audit event"):
        record(desk, **details)
