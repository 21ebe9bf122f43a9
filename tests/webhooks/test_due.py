from __future__ import annotations

import pytest

from styleflow.webhooks.due import AttemptOutcome, ClaimedDelivery, claim, record
from styleflow.webhooks.schedule import Settlement
from tests.webhooks.office import Office

DELIVERED = Settlement(state="delivered")
FAILED = Settlement(state="pending", delay_seconds=60.0)
URL = "https://hooks.example.test/"


def claimed(office: Office, limit: int = 100, *, failing: bool = False) -> list[ClaimedDelivery]:
    return office.read(lambda session: claim(session, limit=limit, lease_seconds=45.0, failing=failing))


def recorded(office: Office, delivery: ClaimedDelivery, settlement: Settlement, status: int | None = 200) -> bool:
    outcome = AttemptOutcome(status=status, error=None if status else "timeout", latency_ms=5, excerpt=None)
    return office.read(lambda session: record(session, delivery, outcome, settlement))


def test_a_claim_says_what_to_send_and_where(office: Office) -> None:
    endpoint, secret = office.endpoint(URL)
    (delivery,) = office.event(endpoint, body='{"a":1}')

    (found,) = claimed(office)

    assert (found.delivery_id, found.endpoint_id, found.attempt) == (delivery, endpoint, 1)
    assert (found.url, found.body) == (URL, '{"a":1}')
    assert office.secrets.open(found.secret_encrypted) == secret


def test_a_claimed_delivery_is_not_claimed_again_until_its_lease_ends(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)
    office.event(endpoint)

    assert len(claimed(office)) == 1
    assert claimed(office) == []


def test_the_work_of_a_killed_deliverer_is_taken_up_again(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)
    (delivery,) = office.event(endpoint)
    claimed(office)
    office.run("update deliveries set lease_expires_at = now() - interval '1 second'")

    (second,) = claimed(office)

    assert second.attempt == 2
    first_attempt, second_attempt = office.delivery(delivery)[2]
    assert (first_attempt.error, second_attempt.error) == ("lost", None)


def test_a_failure_that_comes_after_the_lease_was_taken_over_changes_nothing(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)
    (delivery,) = office.event(endpoint)
    (first,) = claimed(office)
    office.run("update deliveries set lease_expires_at = now() - interval '1 second'")
    (second,) = claimed(office)

    assert not recorded(office, first, Settlement(state="failed"), status=500)
    assert office.delivery(delivery)[0].state == "pending"
    assert office.delivery(delivery)[0].lease_expires_at is not None
    assert recorded(office, second, DELIVERED)


def test_a_success_counts_even_after_the_lease_was_taken_over(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)
    (delivery,) = office.event(endpoint)
    (first,) = claimed(office)
    office.run("update deliveries set lease_expires_at = now() - interval '1 second'")
    (second,) = claimed(office)

    assert recorded(office, first, DELIVERED)
    assert not recorded(office, second, Settlement(state="failed"), status=500)
    assert office.delivery(delivery)[0].state == "delivered"


def test_an_endpoint_is_given_two_at_a_time_and_one_while_it_fails(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)
    for _ in range(5):
        office.event(endpoint)

    first, second = claimed(office)
    assert claimed(office) == []
    recorded(office, first, DELIVERED)
    assert len(claimed(office)) == 1

    recorded(office, second, FAILED, status=500)
    assert claimed(office) == []
    assert claimed(office, failing=True) == []
    office.run("update deliveries set lease_expires_at = null")
    assert len(claimed(office, failing=True)) == 1


def test_what_is_due_longest_is_claimed_first(office: Office) -> None:
    deliveries = [office.event(office.endpoint(URL)[0])[0] for _ in range(3)]
    for age, delivery in zip((2, 3, 1), deliveries, strict=True):
        office.run(f"update deliveries set next_attempt_at = now() - interval '{age} hours' where id = '{delivery}'")

    assert [claimed(office, 1)[0].delivery_id for _ in range(3)] == [deliveries[1], deliveries[0], deliveries[2]]


@pytest.mark.parametrize("change", ["state = 'disabled'", "deleted_at = now()"])
def test_nothing_is_claimed_for_an_endpoint_that_is_not_active(office: Office, change: str) -> None:
    endpoint, _ = office.endpoint(URL)
    office.event(endpoint)
    office.run(f"update webhook_endpoints set {change}")

    assert claimed(office) == []


def test_a_limit_of_nothing_claims_nothing(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)
    office.event(endpoint)

    assert claimed(office, 0) == []
    assert claimed(office, -3) == []
