"""A receiver's behaviour, and a project with jobs' events on their way to it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Condition, Event
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from styleflow.api_keys import SecretBox
from styleflow.database import Database
from styleflow.egress import Egress
from styleflow.ids import new_id
from styleflow.webhook_tables import DeliveryAttemptRow, DeliveryRow, EventRow, WebhookEndpointRow
from styleflow.webhooks import endpoints, queries
from styleflow.webhooks.delivery import Deliverer, deliver_due

T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers each request with the status for its path.

    `/slow` drips its header until the test is over, `/late` takes its time and answers.
    """

    port: int = 0
    messages: list[Message] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    answer_headers: dict[str, str] = field(default_factory=dict)
    over: Event = field(default_factory=Event)
    open_requests: int = 0
    most_open: int = 0
    arrived: Condition = field(default_factory=Condition)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Message]:
        return [message for message in self.messages if message.path == path]

    def wait_for(self, path: str, count: int, seconds: float = 10.0) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.at(path)) >= count, seconds)

    def receive(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self.arrived:
            self.open_requests += 1
            self.most_open = max(self.most_open, self.open_requests)
            self.messages.append(Message(request.path, headers, body))
            self.arrived.notify_all()
        try:
            self.answer(request)
        finally:
            with self.arrived:
                self.open_requests -= 1

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path.startswith("/slow"):
            while not self.over.wait(0.05):
                request.wfile.write(b"H")
        elif request.path == "/reset":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.connection.close()
        else:
            if request.path == "/late":
                self.over.wait(0.6)
            request.send_response(self.statuses.get(request.path, 200))
            for name, value in {**self.answer_headers, "Content-Length": "6"}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(b"thanks")


@dataclass(frozen=True)
class Office:
    """A project of the test's own, with short ways to write and read what deliveries are about."""

    database: Database
    secrets: SecretBox
    egress: Egress
    project_id: str

    def deliver(self, limit: int = 100, *, timeout_seconds: float = 5.0, egress: Egress | None = None) -> int:
        return deliver_due(self.database, egress or self.egress, self.secrets, limit, timeout_seconds=timeout_seconds)

    def deliverer(self, *, timeout_seconds: float = 5.0, concurrency: int = 8) -> Deliverer:
        return Deliverer(
            self.database, self.egress, self.secrets, timeout_seconds=timeout_seconds, concurrency=concurrency
        )

    def endpoint(self, url: str, **more: Any) -> tuple[str, str]:
        """A new endpoint's id and secret. It is active, as if it had answered its ping."""
        identity, secret = self.pending_endpoint(url, **more)
        self.run("delete from events where type = 'webhook.ping'")
        self.run(f"update webhook_endpoints set state = 'active' where id = '{identity}'")
        return identity, secret

    def pending_endpoint(self, url: str, **more: Any) -> tuple[str, str]:
        """A new endpoint with its ping on the way."""
        with self.database.transaction() as session:
            new = endpoints.NewEndpoint(**{"url": url, "events": ["*"], **more})
            row, secret = endpoints.create_endpoint(session, self.secrets, self.project_id, new)
            return row.id, secret

    def change(self, endpoint_id: str, **changes: Any) -> WebhookEndpointRow:
        def changed(session: Session) -> WebhookEndpointRow:
            row = endpoints.get_endpoint(session, self.project_id, endpoint_id, lock=True)
            endpoints.update_endpoint(session, row, changes)
            return row

        return self.read(changed)

    def on_endpoint(self, endpoint_id: str, act: Callable[[Session, WebhookEndpointRow], T]) -> T:
        """What `act` gives for the locked endpoint."""
        return self.read(
            lambda session: act(session, endpoints.get_endpoint(session, self.project_id, endpoint_id, lock=True))
        )

    def event(self, *endpoint_ids: str, body: str = '{"type":"job.succeeded"}') -> list[str]:
        """A new event on its way to the endpoints; gives the deliveries' ids."""
        with self.database.transaction() as session:
            event = EventRow(
                id=new_id("evt"),
                project_id=self.project_id,
                job_id=new_id("job"),
                type="job.succeeded",
                sequence=1,
                terminal=True,
                body=body,
            )
            session.add(event)
            session.flush()
            deliveries = [
                DeliveryRow(
                    id=new_id("dlv"),
                    project_id=self.project_id,
                    endpoint_id=endpoint_id,
                    event_id=event.id,
                    state="pending",
                )
                for endpoint_id in endpoint_ids
            ]
            session.add_all(deliveries)
            return [delivery.id for delivery in deliveries]

    def delivery(self, delivery_id: str) -> tuple[DeliveryRow, EventRow, list[DeliveryAttemptRow]]:
        return self.read(lambda session: queries.get_delivery(session, self.project_id, delivery_id))

    def endpoint_row(self, endpoint_id: str) -> WebhookEndpointRow:
        return self.read(lambda session: endpoints.get_endpoint(session, self.project_id, endpoint_id))

    def read(self, question: Callable[[Session], T]) -> T:
        with self.database.transaction() as session:
            return question(session)

    def run(self, statement: str) -> None:
        with self.database.transaction() as session:
            session.execute(text(statement))

    def make_due(self) -> None:
        """What waits for its next attempt is due, every lease has run out, and every pause is over."""
        self.run("update webhook_endpoints set paused_until = null")
        self.run("update deliveries set next_attempt_at = now() where state = 'pending'")
        self.run("update deliveries set lease_expires_at = now() - interval '1 second' where state = 'pending'")
