"""`styleflow webhooks`: addresses that are told what happens, and what became of telling them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from styleflow.cli.remote.connection import AsJson, KeyFile, Url
from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.orders import merged, moment_given
from styleflow.cli.remote.reaching import reaching
from styleflow.cli.remote.service import Service, part
from styleflow.cli.remote.shown import Columns, Output, Value, complain, field_of, time_of

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Who is told of what, what was sent, sending it again."
)

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="whe_…")]
Delivery = Annotated[str, typer.Argument(metavar="DELIVERY", help="dlv_…")]
LOOK_SECONDS = 0.5
WAITING = "pending"

COLUMNS: Columns = {
    "endpoint": field_of("id"),
    "state": field_of("state"),
    "events": field_of("events"),
    "url": field_of("url"),
}
CARD: Columns = {
    "endpoint": field_of("id"),
    "url": field_of("url"),
    "secret": field_of("secret"),
    "public key": field_of("public_key"),
    "state": field_of("state"),
    "why": field_of("disabled_reason"),
    "failing": field_of("failing"),
    "events": field_of("events"),
    "signature": field_of("signature"),
    "old secret until": time_of("previous_secret_until"),
    "description": field_of("description"),
    "created": time_of("created_at"),
}


def last_attempt(delivery: Value) -> object:
    """`503`, or the class of a failure before there was a status; None where nothing was tried or told."""
    attempts = delivery.get("attempts") or [{}]
    return attempts[-1].get("status") or attempts[-1].get("error")


DELIVERY_COLUMNS: Columns = {
    "delivery": field_of("id"),
    "state": field_of("state"),
    "event": field_of("event_type"),
    "attempts": field_of("attempt"),
    "created": time_of("created_at"),
}
REPLAY_COLUMNS: Columns = {
    "replay": field_of("id"),
    "state": field_of("state"),
    "deliveries": field_of("deliveries"),
}
DELIVERY_CARD: Columns = {
    "delivery": field_of("id"),
    "state": field_of("state"),
    "event": field_of("event_type"),
    "webhook-id": field_of("event_id"),
    "job": field_of("job_id"),
    "endpoint": field_of("endpoint_id"),
    "again of": field_of("redelivery_of"),
    "attempts": field_of("attempt"),
    "last answer": last_attempt,
    "next attempt": time_of("next_attempt_at"),
    "created": time_of("created_at"),
    "finished": time_of("finished_at"),
}


@app.command(
    epilog="styleflow webhooks create https://hooks.example.org/styleflow --event 'job.*' --event batch.completed"
)
def create(
    address: Annotated[str, typer.Argument(metavar="URL")],
    event: Annotated[list[str] | None, typer.Option(help="job.succeeded, job.*, …", show_default="job.*")] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    signature: Annotated[
        str | None, typer.Option(metavar="hmac|ed25519", help="By a shared secret, or by a key pair.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Have an address told of events. The secret that verifies them is shown this one time."""
    with reaching(url, key_file) as service:
        body = merged({}, url=address, events=event, description=description, signature=signature)
        Output(as_json).card(service.order("/v1/webhook-endpoints", body), CARD)


@app.command("list")
def list_(as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """List the endpoints, newest first."""
    with reaching(url, key_file) as service:
        Output(as_json).rows(service.pages("/v1/webhook-endpoints", None), COLUMNS)


@app.command()
def show(endpoint: Endpoint, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show an endpoint, and why it was disabled."""
    with reaching(url, key_file) as service:
        Output(as_json).card(service.get(f"/v1/webhook-endpoints/{part(endpoint)}"), CARD)


@app.command(epilog="styleflow webhooks ping whe_01J… --wait || echo 'it does not answer'")
def ping(
    endpoint: Endpoint,
    wait: Annotated[bool, typer.Option("--wait", help="Until it was delivered, or failed.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait.")] = 30.0,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Send a test event. With --wait, exit code 0 when it was delivered, 1 when an attempt failed."""
    with reaching(url, key_file) as service:
        delivery = service.order(f"/v1/webhook-endpoints/{part(endpoint)}:ping")
        if not wait:
            Output(as_json).row(delivery, DELIVERY_COLUMNS)
            return
        delivery = _tried(service, str(delivery["id"]), time.monotonic() + timeout)
        Output(as_json).card(delivery, DELIVERY_CARD)
        raise typer.Exit(_end_of(delivery))


def _tried(service: Service, delivery_id: str, deadline: float) -> dict[str, Any]:
    """The delivery once something was sent, whatever came back."""
    while True:
        delivery = service.get(f"/v1/deliveries/{part(delivery_id)}")
        if delivery["state"] != WAITING or delivery["attempt"] or time.monotonic() >= deadline:
            return delivery
        time.sleep(LOOK_SECONDS)


def _end_of(delivery: Value) -> Exit:
    if delivery["state"] == "delivered":
        return Exit.DONE
    if delivery["state"] == WAITING and not delivery["attempt"]:
        complain("timed_out: it was not sent yet; does a light worker run?")
        return Exit.TIMED_OUT
    return Exit.JUDGED_AGAINST


@app.command(epilog="styleflow webhooks rotate whe_01J… --overlap-hours 48 --json | jq -r .secret")
def rotate(
    endpoint: Endpoint,
    overlap_hours: Annotated[
        int | None, typer.Option(min=0, help="For which the old secret signs as well.", show_default="24")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Give an endpoint a new secret, which is shown this one time."""
    with reaching(url, key_file) as service:
        body = merged({}, overlap_hours=overlap_hours)
        Output(as_json).card(service.order(f"/v1/webhook-endpoints/{part(endpoint)}:rotate-secret", body), CARD)


@app.command()
def enable(endpoint: Endpoint, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Switch a disabled endpoint on again."""
    with reaching(url, key_file) as service:
        Output(as_json).card(service.order(f"/v1/webhook-endpoints/{part(endpoint)}:enable"), CARD)


@app.command()
def delete(endpoint: Endpoint, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Unsubscribe an endpoint. What was on its way to it is not sent any more."""
    with reaching(url, key_file) as service:
        service.delete(f"/v1/webhook-endpoints/{part(endpoint)}")
        gone = {"id": endpoint, "state": "deleted"}
        Output(as_json).row(gone, {"endpoint": field_of("id"), "state": field_of("state")})


@app.command(epilog="styleflow webhooks deliveries whe_01J… --state failed")
def deliveries(
    endpoint: Endpoint,
    state: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    event: Annotated[str | None, typer.Option(help="Of one type: job.failed, …")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """List what was sent to an endpoint, newest first."""
    with reaching(url, key_file) as service:
        path = f"/v1/webhook-endpoints/{part(endpoint)}/deliveries"
        found = service.pages(path, None if every else limit, state=state, event_type=event)
        Output(as_json).rows(found, DELIVERY_COLUMNS)


@app.command()
def delivery(delivery: Delivery, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show one delivery, and how its last attempt was answered."""
    with reaching(url, key_file) as service:
        Output(as_json).card(service.get(f"/v1/deliveries/{part(delivery)}"), DELIVERY_CARD)


@app.command()
def redeliver(delivery: Delivery, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Send an event again: the same bytes under the same webhook-id, signed anew."""
    with reaching(url, key_file) as service:
        Output(as_json).row(service.order(f"/v1/deliveries/{part(delivery)}:redeliver"), DELIVERY_COLUMNS)


@app.command(epilog="styleflow webhooks replay whe_01J… --since 2026-11-20 --state failed")
def replay(
    endpoint: Endpoint,
    since: Annotated[str, typer.Option(metavar="MOMENT", help="From then on: a day or RFC 3339.")],
    until: Annotated[str | None, typer.Option(metavar="MOMENT", help="Before then.", show_default="now")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="failed or delivered: how they ended.", show_default="failed")
    ] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only these types.", show_default=False)] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Send again what an endpoint missed."""
    with reaching(url, key_file) as service:
        span = {"from": moment_given(since), "to": moment_given(until) or datetime.now(UTC).isoformat()}
        body = merged({}, states=state, event_types=event, **span)
        Output(as_json).row(service.order(f"/v1/webhook-endpoints/{part(endpoint)}:replay", body), REPLAY_COLUMNS)
