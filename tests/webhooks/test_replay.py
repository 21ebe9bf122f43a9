"""Sending again what happened in a span of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from styleflow.errors import InvalidRequest, NotRetryable
from styleflow.webhook_tables import DeliveryRow, ReplayRow
from styleflow.webhooks import endpoints, replay
from tests.webhooks.office import Office, Receiver

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)


def ordered(office: Office, endpoint: str, **more: Any) -> str:
    values: dict[str, Any] = {
        "from_time": datetime.now(UTC) - timedelta(hours=1),
        "to_time": LAST,
        "states": ["failed"],
        "event_types": None,
        **more,
    }
    return office.on_endpoint(endpoint, lambda session, row: replay.order_replay(session, row, **values).id)


def made(office: Office, replay_id: str) -> list[str]:
    """Events of the replay's deliveries."""
    with office.database.transaction() as session:
        wanted = select(DeliveryRow.event_id).where(DeliveryRow.replay_id == replay_id).order_by(DeliveryRow.id)
        return list(session.scalars(wanted))


def row(office: Office, replay_id: str) -> ReplayRow:
    return office.read(lambda session: replay.get_replay(session, office.project_id, replay_id))


def failed_events(office: Office, endpoint: str, count: int) -> list[str]:
    deliveries = [office.event(endpoint)[0] for _ in range(count)]
    office.run("update deliveries set state = 'failed', finished_at = now() where state = 'pending'")
    return [office.delivery(delivery)[1].id for delivery in deliveries]


def test_what_failed_is_sent_again_under_the_same_ids_and_the_old_attempts_stay(
    office: Office, receiver: Receiver
) -> None:
    receiver.statuses["/hook"] = 410
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (old,) = office.event(endpoint)
    office.deliver()
    before = office.delivery(old)
    receiver.statuses["/hook"] = 200
    office.run("update webhook_endpoints set state = 'active'")

    identity = ordered(office, endpoint)
    assert replay.replay_once(office.database) == 1
    office.deliver()

    assert made(office, identity) == [before[1].id]
    one, two = receiver.messages
    assert (one.body, one.headers["webhook-id"]) == (two.body, two.headers["webhook-id"])
    after = office.delivery(old)
    assert (after[0].state, after[0].finished_at) == ("failed", before[0].finished_at)
    assert [attempt.status for attempt in after[2]] == [410]
    assert (row(office, identity).state, row(office, identity).deliveries) == ("completed", 1)


def test_it_goes_on_in_steps_from_where_it_was_and_makes_each_delivery_once(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    events = failed_events(office, endpoint, 7)
    identity = ordered(office, endpoint)

    steps = 0
    while row(office, identity).state == "running":
        assert len(made(office, identity)) == min(3 * steps, 7)
        replay.replay_once(office.database, 3)  # each as a process of its own would: nothing is remembered but the row
        steps += 1

    assert steps == 3
    assert made(office, identity) == events
    assert replay.replay_once(office.database) == 0


def test_only_what_was_asked_for_is_sent_again(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    other, _ = office.endpoint(receiver.url("/other"))
    failed = failed_events(office, endpoint, 2)
    delivered = office.event(endpoint)
    foreign = office.event(other)
    office.run(f"update deliveries set state = 'delivered' where id = any(array['{delivered[0]}', '{foreign[0]}'])")
    office.run(f"update events set type = 'job.failed' where id = '{failed[0]}'")
    office.run(f"update events set body = '' where id = '{failed[1]}'")

    by_state = ordered(office, endpoint, states=["failed"])
    replay.replay_once(office.database)
    assert made(office, by_state) == [failed[0]], "what is erased is not sent"
    office.run("update deliveries set state = 'delivered' where state = 'pending'")

    again = ordered(office, endpoint, states=["failed"])
    replay.replay_once(office.database)
    assert made(office, again) == [], "its latest delivery has arrived"

    by_type = ordered(office, endpoint, states=["delivered"], event_types=["job.succeeded"])
    replay.replay_once(office.database)
    assert made(office, by_type) == [office.delivery(delivered[0])[1].id]

    before = ordered(office, endpoint, states=["delivered"], to_time=datetime.now(UTC) - timedelta(minutes=30))
    replay.replay_once(office.database)
    assert made(office, before) == []


def test_it_waits_while_the_endpoint_is_behind(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MOST_WAITING", 2)
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    failed_events(office, endpoint, 2)
    office.event(endpoint)
    office.event(endpoint)
    identity = ordered(office, endpoint)

    assert replay.replay_once(office.database) == 0
    office.deliver()
    assert replay.replay_once(office.database) == 1
    assert len(made(office, identity)) == 2


def test_one_at_a_time_and_no_longer_than_events_are_kept(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    with pytest.raises(InvalidRequest):
        ordered(office, endpoint, from_time=FIRST)
    with pytest.raises(InvalidRequest):
        ordered(office, endpoint, from_time=LAST, to_time=LAST)
    identity = ordered(office, endpoint)
    with pytest.raises(NotRetryable):
        ordered(office, endpoint)

    office.read(lambda session: endpoints.delete_endpoint(session, office.project_id, endpoint))

    assert row(office, identity).state == "canceled"
