from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from styleflow.api_keys import ensure_project
from styleflow.database import Database
from styleflow.errors import NotFound, NotRetryable
from styleflow.jobs import progress
from styleflow.jobs.erasures import order_job
from styleflow.jobs.intake import NewJob, submit
from styleflow.webhooks import endpoints, queries, signature
from tests.webhooks.office import Office, Receiver

URL = "https://hooks.example.test/"


@pytest.fixture
def session(office: Office) -> Iterator[Session]:
    with office.database.transaction() as session:
        yield session


@pytest.fixture
def stranger(database: Database) -> str:
    with database.transaction() as session:
        return ensure_project(session, "stranger").id


def test_a_new_endpoint_is_pending_and_its_secret_is_stored_sealed(office: Office, session: Session) -> None:
    new = endpoints.NewEndpoint(url=URL, events=["job.*"], description="Slack")
    endpoint, secret = endpoints.create_endpoint(session, office.secrets, office.project_id, new)

    assert (endpoint.state, endpoint.events, endpoint.description) == ("pending", ["job.*"], "Slack")
    assert office.secrets.open(endpoint.secret_encrypted) == secret
    stored = session.execute(text("select to_jsonb(e)::text from webhook_endpoints e")).scalar_one()
    assert secret.removeprefix("whsec_") not in stored


def test_endpoints_are_listed_newest_first_page_by_page(office: Office, session: Session) -> None:
    ids = [office.endpoint(URL)[0] for _ in range(3)]

    page = endpoints.list_endpoints(session, office.project_id, limit=2)
    rest = endpoints.list_endpoints(session, office.project_id, limit=2, after=page[-1].id)

    assert sorted(row.id for row in page + rest) == sorted(ids)
    assert [row.id for row in page + rest] == sorted(ids, reverse=True)


def test_a_stranger_sees_and_changes_nothing(office: Office, session: Session, stranger: str) -> None:
    endpoint, _ = office.endpoint(URL)
    (delivery,) = office.event(endpoint)

    assert endpoints.list_endpoints(session, stranger) == []
    assert queries.list_deliveries(session, stranger, endpoint) == []
    assert queries.list_events(session, stranger, settle_seconds=0) == []
    for attempt in (
        lambda: endpoints.get_endpoint(session, stranger, endpoint),
        lambda: endpoints.delete_endpoint(session, stranger, endpoint),
        lambda: queries.get_delivery(session, stranger, delivery),
        lambda: queries.redeliver(session, stranger, delivery),
    ):
        with pytest.raises(NotFound):
            attempt()


def test_an_endpoint_is_changed_where_a_value_is_given(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)

    row = office.change(endpoint, events=["job.failed"])

    assert (row.url, row.events, row.state) == (URL, ["job.failed"], "active")


def test_what_waited_for_a_disabled_endpoint_is_sent_when_it_is_enabled(office: Office, receiver: Receiver) -> None:
    endpoint, _ = office.endpoint(receiver.url("/hook"))
    office.event(endpoint)
    office.change(endpoint, state="disabled")
    assert office.deliver() == 0

    office.change(endpoint, state="active")

    assert office.deliver() == 2, "the ping that it answers, and then what waited"
    assert office.endpoint_row(endpoint).state == "active"


def test_a_deleted_endpoint_is_gone_and_its_deliveries_can_still_be_read(office: Office, session: Session) -> None:
    endpoint, _ = office.endpoint(URL)
    (delivery,) = office.event(endpoint)

    endpoints.delete_endpoint(session, office.project_id, endpoint)

    with pytest.raises(NotFound):
        endpoints.get_endpoint(session, office.project_id, endpoint)
    assert endpoints.list_endpoints(session, office.project_id) == []
    assert queries.get_delivery(session, office.project_id, delivery)[0].state == "failed"
    with pytest.raises(NotFound):
        queries.redeliver(session, office.project_id, delivery)


def test_a_ping_is_a_signed_event_for_this_endpoint_alone(office: Office, receiver: Receiver) -> None:
    endpoint, secret = office.endpoint(receiver.url("/hook"))
    office.endpoint(receiver.url("/other"))

    office.on_endpoint(endpoint, endpoints.ping)
    office.deliver()

    (message,) = receiver.messages
    assert message.path == "/hook"
    assert signature.verify(secret, message.headers, message.body, now=time.time())
    content = json.loads(message.body)
    assert (content["type"], content["data"]) == ("webhook.ping", {"endpoint_id": endpoint})


def test_a_disabled_endpoint_is_not_pinged(office: Office) -> None:
    endpoint, _ = office.endpoint(URL)
    office.change(endpoint, state="disabled")

    with pytest.raises(NotRetryable):
        office.on_endpoint(endpoint, endpoints.ping)


def test_deliveries_are_filtered_by_state_and_type_and_paged(office: Office, session: Session) -> None:
    endpoint, _ = office.endpoint(URL)
    deliveries = [office.event(endpoint)[0] for _ in range(3)]
    office.run(f"update deliveries set state = 'failed' where id = '{deliveries[1]}'")

    def listed(**filters: str) -> list[str]:
        rows = queries.list_deliveries(session, office.project_id, endpoint, **filters)  # type: ignore[arg-type]
        return [delivery.id for delivery, _ in rows]

    newest_first = sorted(deliveries, reverse=True)
    assert listed() == newest_first
    assert listed(state="failed") == [deliveries[1]]
    assert listed(event_type="job.failed") == []
    assert listed(event_type="job.succeeded", after=newest_first[0]) == newest_first[1:]


def test_a_redelivery_sends_the_same_bytes_under_the_same_id_signed_afresh(office: Office, receiver: Receiver) -> None:
    endpoint, secret = office.endpoint(receiver.url("/hook"))
    (first,) = office.event(endpoint, body='{"frozen":true}')
    office.deliver()

    second = office.read(lambda session: queries.redeliver(session, office.project_id, first))
    time.sleep(max(0.0, int(time.time()) + 1 - time.time()))  # into the next second, which is what is signed
    office.deliver()

    assert (second.redelivery_of, second.id != first) == (first, True)
    one, two = receiver.messages
    assert one.body == two.body == b'{"frozen":true}'
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert one.headers["webhook-signature"] != two.headers["webhook-signature"]
    assert signature.verify(secret, two.headers, two.body, now=time.time())
    assert len(office.delivery(first)[2]) == len(office.delivery(second.id)[2]) == 1


def test_events_are_read_in_order_from_where_the_reader_stopped(office: Office, session: Session) -> None:
    endpoint, _ = office.endpoint(URL)
    events = [office.delivery(office.event(endpoint)[0])[1].id for _ in range(3)]

    page = queries.list_events(session, office.project_id, limit=2, settle_seconds=0)
    rest = queries.list_events(session, office.project_id, after=page[-1].id, settle_seconds=0)

    assert [event.id for event in page + rest] == events
    with pytest.raises(NotFound):
        queries.list_events(session, office.project_id, after="evt_unknown")


def test_a_reader_who_stopped_at_an_event_of_an_erased_job_goes_on(office: Office, session: Session) -> None:
    with office.database.transaction() as writing:
        new = NewJob(project_id=office.project_id, source={}, model="m@1", max_attempts=1, expires_in_days=1)
        first, second = submit(writing, new).id, submit(writing, new).id
    seen = queries.list_events(session, office.project_id, limit=1, settle_seconds=0)[0]
    with office.database.transaction() as writing:
        progress.request_cancel(writing, office.project_id, first)
        order_job(writing, office.project_id, first, "key_1")

    rest = queries.list_events(session, office.project_id, after=seen.id, settle_seconds=0)

    assert (seen.job_id, [event.job_id for event in rest]) == (first, [second])


def test_the_youngest_events_are_held_back_until_older_ones_cannot_appear(office: Office, session: Session) -> None:
    endpoint, _ = office.endpoint(URL)
    office.event(endpoint)

    assert queries.list_events(session, office.project_id, settle_seconds=60) == []
    assert len(queries.list_events(session, office.project_id, settle_seconds=0)) == 1
