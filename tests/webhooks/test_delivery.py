from __future__ import annotations

import json
import socket
import time
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.api_keys import SecretBox
from styleflow.egress import Egress, EgressPolicy
from styleflow.webhooks import signature
from styleflow.webhooks.delivery import deliver_due, room
from tests.webhooks.office import Office, Receiver

BODY = json.dumps({"type": "job.succeeded", "data": {"client_ref": "Ä–日本"}}, ensure_ascii=False)


def test_a_receiver_gets_the_stored_bytes_under_a_signature_that_verifies(office: Office, receiver: Receiver) -> None:
    endpoint, secret = office.endpoint(receiver.url("/hook"))
    (delivery,) = office.event(endpoint, body=BODY)

    assert office.deliver() == 1

    (message,) = receiver.messages
    _, event, _ = office.delivery(delivery)
    assert message.body == BODY.encode()
    assert signature.verify(secret, message.headers, message.body, now=time.time())
    assert message.headers["webhook-id"] == event.id
    assert message.headers["content-type"] == "application/json"
    assert message.headers["user-agent"] == "styleflow-webhooks/1"


def test_a_success_is_recorded_with_its_attempt(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (delivery,) = office.event(endpoint)
    office.deliver()

    row, _, (attempt,) = office.delivery(delivery)
    assert (row.state, row.attempt, row.lease_expires_at) == ("delivered", 1, None)
    assert row.finished_at is not None
    assert (attempt.number, attempt.status, attempt.error, attempt.response_excerpt) == (1, 200, None, "thanks")
    assert attempt.latency_ms is not None


def test_what_was_delivered_is_not_sent_again(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    office.event(endpoint)

    assert [office.deliver(), office.deliver()] == [1, 0]
    assert len(receiver.messages) == 1


@pytest.mark.parametrize("status", [301, 400, 404, 500])
def test_any_other_answer_waits_for_the_next_attempt(office: Office, receiver: Receiver, status: int) -> None:
    receiver.statuses["/hook"] = status
    receiver.answer_headers["Location"] = receiver.url("/elsewhere")
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (delivery,) = office.event(endpoint)

    office.deliver()

    row, _, (attempt,) = office.delivery(delivery)
    assert (row.state, attempt.status) == ("pending", status)
    assert 3.9 <= (row.next_attempt_at - attempt.started_at).total_seconds() <= 12
    assert receiver.at("/elsewhere") == []
    assert office.deliver() == 0


def test_every_attempt_is_a_row_and_the_last_failure_ends_the_delivery(office: Office, receiver: Receiver) -> None:
    receiver.statuses["/hook"] = 500
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (delivery,) = office.event(endpoint)

    for _ in range(12):
        office.deliver()
        office.make_due()

    row, _, attempts = office.delivery(delivery)
    assert row.state == "failed"
    assert [attempt.number for attempt in attempts] == list(range(1, 11))
    assert {message.headers["webhook-id"] for message in receiver.messages} == {row.event_id}


def test_an_endpoint_that_is_gone_is_disabled_and_told_nothing_more(office: Office, receiver: Receiver) -> None:
    receiver.statuses["/hook"] = 410
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (delivery,) = office.event(endpoint)
    office.deliver()
    office.event(endpoint)

    row = office.endpoint_row(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "gone")
    assert office.delivery(delivery)[0].state == "failed"
    assert office.deliver() == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_receiver_gets_the_time_that_it_asks_for(office: Office, receiver: Receiver, status: int) -> None:
    receiver.statuses["/hook"] = status
    receiver.answer_headers["Retry-After"] = "7200"
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (delivery,) = office.event(endpoint)

    office.deliver()

    row, _, (attempt,) = office.delivery(delivery)
    assert 7199 <= (row.next_attempt_at - attempt.started_at).total_seconds() <= 7210


@pytest.mark.parametrize(("path", "error"), [("/slow", "timeout"), ("/reset", "connect")])
def test_a_receiver_without_an_answer_is_recorded_with_the_class_of_the_failure(
    office: Office, receiver: Receiver, path: str, error: str
) -> None:
    endpoint, _ = office.endpoint(receiver.url(path))
    (delivery,) = office.event(endpoint)

    office.deliver(timeout_seconds=0.3)

    row, _, (attempt,) = office.delivery(delivery)
    assert row.state == "pending"
    assert attempt.status is None
    assert attempt.error in (error, "protocol")


def test_a_closed_port_is_recorded_as_a_failure_to_connect(office: Office) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint, _ = office.endpoint(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        (delivery,) = office.event(endpoint)
        office.deliver()

    assert office.delivery(delivery)[2][0].error == "connect"


def test_a_blocked_address_is_recorded_and_never_connected_to(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (delivery,) = office.event(endpoint)

    office.deliver(egress=Egress(EgressPolicy(allow_http=True)))

    assert office.delivery(delivery)[2][0].error == "blocked_address"
    assert receiver.messages == []


def test_a_secret_that_cannot_be_opened_is_recorded_and_stops_nobody_else(office: Office, receiver: Receiver) -> None:
    broken, _ = office.endpoint(receiver.url("/broken"))
    whole, _ = office.endpoint(receiver.url("/whole"))
    office.run(f"update webhook_endpoints set secret_encrypted = 'altered' where id = '{broken}'")
    deliveries = office.event(broken, whole)

    assert office.deliver() == 2

    assert [office.delivery(delivery)[2][0].error for delivery in deliveries] == ["secret", None]
    assert len(receiver.at("/whole")) == 1


def test_a_healthy_receiver_is_not_delayed_by_one_that_hangs(office: Office, receiver: Receiver) -> None:
    slow, _ = office.endpoint(receiver.url("/slow"))
    healthy, _ = office.endpoint(receiver.url("/hook"))
    for _ in range(20):
        office.event(slow)

    with office.deliverer(timeout_seconds=10.0) as deliverer:
        before = time.monotonic()
        deliverer.deliver_due(100)
        assert receiver.wait_for("/slow", 2)
        for _ in range(10):
            office.event(healthy)
        while len(receiver.at("/hook")) < 10:
            deliverer.deliver_due(100)
            assert time.monotonic() - before < 8
        assert len(receiver.at("/slow")) == 2
        assert receiver.open_requests >= 2
        receiver.over.set()


def test_what_becomes_due_while_a_receiver_hangs_is_taken_up_in_the_same_run(
    office: Office, receiver: Receiver
) -> None:
    slow, _ = office.endpoint(receiver.url("/slow"))
    healthy, _ = office.endpoint(receiver.url("/hook"))
    office.event(slow)
    run = Thread(target=lambda: office.deliver(timeout_seconds=10.0))
    run.start()
    assert receiver.wait_for("/slow", 1)

    office.event(healthy)

    assert receiver.wait_for("/hook", 1, seconds=8.0)
    receiver.over.set()
    run.join()


def test_a_run_takes_up_what_waited_behind_an_answer_that_took_long(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/late"), max_concurrency=1)
    deliveries = [office.event(endpoint)[0] for _ in range(3)]

    assert office.deliver() == 3

    assert {office.delivery(delivery)[0].state for delivery in deliveries} == {"delivered"}


def test_many_dead_receivers_leave_half_of_the_threads_to_the_others(office: Office, receiver: Receiver) -> None:
    dead = [office.endpoint(receiver.url(f"/slow{number}"))[0] for number in range(6)]
    healthy, _ = office.endpoint(receiver.url("/hook"))
    office.run("update webhook_endpoints set failing_since = now() where url like '%slow%'")
    for endpoint in dead:
        for _ in range(5):
            office.event(endpoint)

    with office.deliverer(timeout_seconds=10.0, concurrency=4) as deliverer:
        deliverer.deliver_due(100)
        office.event(healthy)
        deliverer.deliver_due(100)
        assert receiver.wait_for("/hook", 1, seconds=8.0)
        assert len(receiver.messages) == 3
        receiver.over.set()


def test_an_endpoint_that_works_again_is_no_longer_a_failing_one(office: Office, receiver: Receiver) -> None:
    receiver.statuses["/hook"] = 500
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    office.event(endpoint)
    office.deliver()
    assert office.endpoint_row(endpoint).failing_since is not None

    receiver.statuses["/hook"] = 200
    office.make_due()
    office.deliver()

    assert office.endpoint_row(endpoint).failing_since is None


def test_two_deliverers_send_nothing_twice_and_keep_the_cap_together(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    for _ in range(60):
        office.event(endpoint)

    threads = [Thread(target=office.deliver) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    office.deliver()

    ids = [message.headers["webhook-id"] for message in receiver.messages]
    assert len(ids) == len(set(ids)) == 60
    # A lease ends with the record of its answer, which the receiver sent a moment earlier.
    assert receiver.most_open <= 3


def test_a_run_handles_no_more_than_its_limit(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    for _ in range(5):
        office.event(endpoint)

    assert [office.deliver(3), office.deliver(3), office.deliver(3)] == [3, 2, 0]


def test_no_connection_to_the_database_is_held_while_a_receiver_thinks(
    office: Office, receiver: Receiver, secrets: SecretBox, egress: Egress
) -> None:
    endpoint, _ = office.endpoint(receiver.url("/slow"))
    office.event(endpoint)

    run = Thread(target=lambda: deliver_due(office.database, egress, secrets, 1, timeout_seconds=2.0))
    run.start()
    assert receiver.wait_for("/slow", 1)
    busy = office.database.engine.pool.checkedout()  # type: ignore[attr-defined]
    receiver.over.set()
    run.join()

    assert busy == 0


@given(st.integers(2, 64), st.data())
def test_either_kind_of_endpoint_keeps_to_its_share_and_always_has_one(concurrency: int, data: st.DataObject) -> None:
    failing = data.draw(st.integers(0, concurrency // 2))
    answering = data.draw(st.integers(0, min(concurrency - 1, concurrency - failing)))

    space = room(concurrency, answering, failing)

    free = concurrency - answering - failing
    assert 0 <= space.answering <= free
    assert 0 <= space.failing <= free
    assert failing + space.failing <= concurrency // 2
    assert answering + space.answering <= concurrency - 1
    # those that fail can fill their share and still leave room, and the other way round
    assert room(concurrency, 0, concurrency // 2).answering >= 1
    assert room(concurrency, concurrency - 1, 0).failing == 1


def test_a_single_thread_serves_either_kind() -> None:
    assert (room(1, 0, 0).answering, room(1, 0, 0).failing) == (1, 1)


def test_an_event_that_was_erased_while_it_was_sent_again_is_not_sent_and_nobody_is_blamed(
    office: Office, receiver: Receiver
) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    (empty,) = office.event(endpoint, body="")

    office.deliver()

    row, _, (attempt,) = office.delivery(empty)
    assert receiver.messages == []
    assert (row.state, row.lease_expires_at, attempt.error) == ("failed", None, "erased")
    assert (office.endpoint_row(endpoint).failures, office.endpoint_row(endpoint).failing_since) == (0, None)
