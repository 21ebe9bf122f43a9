"""What becomes of an endpoint by what it answers, with receivers that listen."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from styleflow.egress import Egress, EgressPolicy
from styleflow.errors import NotFound
from styleflow.webhook_tables import DeliveryRow, EventRow
from styleflow.webhooks import endpoints, health
from styleflow.webhooks.schedule import BREAKER_FAILURES, BREAKER_PAUSES, circuit_pause
from tests.webhooks.office import Office, Receiver


def test_an_endpoint_is_active_once_it_answered_its_ping_and_gets_what_happened_meanwhile(
    office: Office, receiver: Receiver
) -> None:
    receiver.statuses["/hook"] = 500
    endpoint, _ = office.pending_endpoint(receiver.url("/hook"))
    office.event(endpoint)

    assert office.deliver() == 1, "the ping alone"
    assert office.endpoint_row(endpoint).state == "pending"
    receiver.statuses["/hook"] = 200
    office.make_due()

    assert office.deliver() == 2
    assert office.endpoint_row(endpoint).state == "active"
    assert [json.loads(message.body)["type"] for message in receiver.messages] == [
        "webhook.ping",
        "webhook.ping",
        "job.succeeded",
    ]


def test_a_new_address_has_to_answer_a_ping_before_it_gets_anything(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/old"))
    office.change(endpoint, url=receiver.url("/new"))
    receiver.statuses["/new"] = 404
    office.event(endpoint)

    office.deliver()

    assert (len(receiver.at("/old")), len(receiver.at("/new"))) == (0, 1)
    assert office.endpoint_row(endpoint).state == "pending"


def test_an_answer_of_the_old_address_does_not_speak_for_the_new_one(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/old"))
    (under_way,) = office.event(endpoint)
    office.change(endpoint, url=receiver.url("/new"))

    office.read(lambda session: health.note_success(session, endpoint, under_way, 5))

    assert office.endpoint_row(endpoint).state == "pending"


CONFORMANCE: list[tuple[str, int | None, dict[str, str], str, str | None, float]] = [
    # path, status, headers of the answer, state of the delivery, class of the failure, seconds to the next attempt
    ("/hook", 200, {}, "delivered", None, 0),
    ("/hook", 201, {}, "delivered", None, 0),
    ("/hook", 301, {"Location": "/elsewhere"}, "pending", None, 4),
    ("/hook", 400, {}, "pending", None, 4),
    ("/hook", 410, {}, "failed", None, 0),
    ("/hook", 429, {"Retry-After": "600"}, "pending", None, 599),
    ("/hook", 500, {}, "pending", None, 4),
    ("/slow", None, {}, "pending", "timeout", 4),
    ("/reset", None, {}, "pending", "connect", 4),
]


@pytest.mark.parametrize(("path", "status", "headers", "state", "error", "wait"), CONFORMANCE)
def test_every_kind_of_answer_leads_to_its_state(
    office: Office,
    receiver: Receiver,
    path: str,
    status: int | None,
    headers: dict[str, str],
    state: str,
    error: str | None,
    wait: float,
) -> None:
    receiver.statuses[path] = status or 200
    receiver.answer_headers.update(headers)
    endpoint, _ = office.endpoint(receiver.url(path))
    (delivery,) = office.event(endpoint)

    office.deliver(timeout_seconds=0.5)

    row, _, (attempt,) = office.delivery(delivery)
    assert (row.state, attempt.status, attempt.error) == (state, status, error)
    if wait:
        assert wait * 0.99 <= (row.next_attempt_at - attempt.started_at).total_seconds() <= wait + 5
    after = office.endpoint_row(endpoint)
    assert after.state == ("disabled" if status == 410 else "active")
    assert (after.failing_since is None) == (state == "delivered")
    assert (after.paused_until is not None) == (status == 429), "who asks for time is left alone"


def failed_in_a_row(office: Office, endpoint: str, times: int) -> None:
    for _ in range(times):
        office.event(endpoint)
        office.make_due()
        office.deliver(1)


def test_the_circuit_opens_probes_with_one_request_and_closes_with_a_success(
    office: Office, receiver: Receiver
) -> None:
    receiver.statuses["/hook"] = 500
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    failed_in_a_row(office, endpoint, BREAKER_FAILURES)
    office.event(endpoint)
    before = len(receiver.messages)

    assert office.deliver() == 0, "it is left alone, also by a process that has just begun"
    assert health.failing(office.endpoint_row(endpoint)) == "delivery"
    office.run("update webhook_endpoints set paused_until = now()")
    office.run("update deliveries set next_attempt_at = now() where state = 'pending'")
    assert office.deliver() == 1, "one probe"
    assert len(receiver.messages) == before + 1
    row = office.endpoint_row(endpoint)
    assert row.paused_until is not None
    assert (row.paused_until - office.read(now)).total_seconds() > BREAKER_PAUSES[0]

    receiver.statuses["/hook"] = 200
    office.make_due()
    assert office.deliver() == BREAKER_FAILURES + 1, "everything, the probe first"
    assert health.failing(office.endpoint_row(endpoint)) is None


def now(session: Any) -> Any:
    return session.execute(select(health.func.now())).scalar_one()


@given(st.integers(0, 10_000))
def test_a_pause_only_grows_and_never_passes_its_limit(failures: int) -> None:
    assert 0 <= circuit_pause(failures) <= circuit_pause(failures + 1) <= BREAKER_PAUSES[1]
    assert (circuit_pause(failures) > 0) == (failures >= BREAKER_FAILURES)


def told(office: Office, endpoint: str) -> list[str]:
    with office.database.transaction() as session:
        types = select(EventRow.type).join(DeliveryRow, DeliveryRow.event_id == EventRow.id)
        return list(session.scalars(types.where(DeliveryRow.endpoint_id == endpoint).order_by(EventRow.id)))


def test_what_only_its_owner_can_mend_is_told_to_the_others_after_three_in_a_row(
    office: Office, receiver: Receiver
) -> None:
    blocked, _ = office.endpoint(receiver.url("/hook"))
    other, _ = office.endpoint(receiver.url("/other"), events=["job.failed"])
    strict = Egress(EgressPolicy(allow_http=True))
    for number in range(3):
        assert health.failing(office.endpoint_row(blocked)) is None, number
        office.event(blocked)
        office.make_due()
        office.deliver(1, egress=strict)

    assert health.failing(office.endpoint_row(blocked)) == "config"
    assert told(office, other) == ["webhook.endpoint_failing"]
    assert office.endpoint_row(blocked).state == "active"


def test_an_endpoint_that_is_gone_is_told_to_the_others_and_not_to_itself(office: Office, receiver: Receiver) -> None:
    receiver.statuses["/gone"] = 410
    gone, _ = office.endpoint(receiver.url("/gone"))
    other, _ = office.endpoint(receiver.url("/other"), events=["job.failed"])
    office.event(gone)

    office.deliver()

    assert told(office, other) == ["webhook.endpoint_disabled"]
    assert told(office, gone) == ["job.succeeded"]
    (message,) = receiver.at("/other") or [None]
    if message is None:
        office.deliver()
        (message,) = receiver.at("/other")
    assert message is not None
    assert json.loads(message.body)["data"]["reason"] == "gone"


@pytest.mark.parametrize("pending", [False, True])
def test_five_days_without_a_success_switch_an_endpoint_off(office: Office, receiver: Receiver, pending: bool) -> None:
    make = office.pending_endpoint if pending else office.endpoint
    silent, _ = make(receiver.url("/silent"))
    other, _ = office.endpoint(receiver.url("/other"), events=["job.failed"])
    office.run(f"update webhook_endpoints set failing_since = now() - interval '119 hours' where id = '{silent}'")
    assert office.read(lambda session: health.switch_off_silent(session, 5)) == 0

    office.run(f"update webhook_endpoints set failing_since = now() - interval '121 hours' where id = '{silent}'")
    assert office.read(lambda session: health.switch_off_silent(session, 5)) == 1
    assert office.read(lambda session: health.switch_off_silent(session, 5)) == 0, "once"

    row = office.endpoint_row(silent)
    assert (row.state, row.disabled_reason) == ("disabled", "no_success")
    assert told(office, other) == ["webhook.endpoint_disabled"]
    office.on_endpoint(silent, endpoints.enable)
    office.deliver()
    assert office.endpoint_row(silent).state == "active"


def test_no_more_than_so_many_requests_a_second_are_sent(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"), max_rps=5, max_concurrency=8)
    for _ in range(40):
        office.event(endpoint)

    began = time.monotonic()
    while time.monotonic() - began < 2.0:
        office.deliver()
        time.sleep(0.02)
    elapsed = time.monotonic() - began

    assert 5 <= len(receiver.messages) <= 5 * (elapsed + 0.25) + 1


def test_no_more_are_open_at_a_time_than_the_endpoint_said(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/slow"), max_concurrency=3)
    for _ in range(10):
        office.event(endpoint)

    with office.deliverer(timeout_seconds=10.0) as deliverer:
        deliverer.deliver_due(100)
        assert receiver.wait_for("/slow", 3)
        deliverer.deliver_due(100)
        assert len(receiver.messages) == 3
        receiver.over.set()


def test_a_slow_loris_beside_a_healthy_receiver_delays_it_by_little(office: Office, receiver: Receiver) -> None:
    slow = [office.endpoint(receiver.url(f"/slow{number}"))[0] for number in range(3)]
    healthy, _ = office.endpoint(receiver.url("/hook"))
    for endpoint in slow * 20:
        office.event(endpoint)
    delays = []

    with office.deliverer(timeout_seconds=2.0) as deliverer:
        deliverer.deliver_due(100)
        for number in range(30):
            office.event(healthy)
            began = time.monotonic()
            while len(receiver.at("/hook")) <= number:
                deliverer.deliver_due(1)
                assert time.monotonic() - began < 10
            delays.append(time.monotonic() - began)
        receiver.over.set()

    assert sorted(delays)[-1] < 2.0, "nobody waits for a timeout of another"
    assert sorted(delays)[len(delays) // 2] < 0.5
    assert len(receiver.messages) < 30 + 60, "and the dead ones are not hammered"


def test_what_was_made_for_an_endpoint_in_the_moment_of_its_deletion_does_not_wait_for_ever(office: Office) -> None:
    endpoint, _ = office.endpoint("https://hooks.example.org/")
    other, _ = office.endpoint("https://hooks.example.org/other")
    (before,) = office.event(endpoint)
    with office.database.transaction() as late:
        delivery = endpoints.new_delivery(
            late, office.project_id, endpoint, office.delivery(before)[1].id, redelivery_of=None
        ).id
        office.read(lambda session: endpoints.delete_endpoint(session, office.project_id, endpoint))
    (kept,) = office.event(other)
    assert office.delivery(delivery)[0].state == "pending"

    assert office.read(health.fail_to_deleted) == 1

    assert (office.delivery(delivery)[0].state, office.delivery(kept)[0].state) == ("failed", "pending")
    assert office.read(health.fail_to_deleted) == 0


def test_nobody_waits_for_or_holds_an_endpoint_of_another_project(office: Office) -> None:
    endpoint, _ = office.endpoint("https://hooks.example.org/")
    with office.database.transaction() as owner, office.database.transaction() as stranger:
        endpoints.get_endpoint(owner, office.project_id, endpoint, lock=True)
        stranger.execute(text("set local lock_timeout = '1s'"))
        with pytest.raises(NotFound):
            endpoints.get_endpoint(stranger, "prj_other", endpoint, lock=True)
