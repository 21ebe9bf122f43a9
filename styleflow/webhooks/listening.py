"""Which endpoints of a project are to be told of what happens there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, SQLColumnExpression, Text, and_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from styleflow.database import transaction_facts
from styleflow.webhook_tables import WebhookEndpointRow


def listening_to(project_id: SQLColumnExpression[str]) -> ScalarSelect[Any]:
    """What `listening` wants to know of a row's project, as a column of a statement that reads the row."""
    pair = func.json_build_array(WebhookEndpointRow.id, WebhookEndpointRow.events)
    pairs = func.json_agg(aggregate_order_by(pair, WebhookEndpointRow.id))
    return select(pairs).where(listening_endpoints(project_id)).correlate_except(WebhookEndpointRow).scalar_subquery()


def remember_listening(session: Session, project_id: str, pairs: Sequence[Sequence[Any]] | None) -> None:
    """This transaction has read `listening_to` the project already."""
    facts = transaction_facts(session)
    facts["listening", project_id] = [(identity, patterns) for identity, patterns in pairs or ()]


def listening(session: Session, project_id: str) -> list[tuple[str, list[str]]]:
    """The project's endpoints that are to be told, and of what."""
    facts = transaction_facts(session)
    known: list[tuple[str, list[str]]] | None = facts.get(("listening", project_id))
    if known is not None:
        return known
    with session.no_autoflush:  # what is being changed goes out once, when all of it is
        rows = session.execute(_LISTENING, {"project_id": project_id})
    return [(identity, patterns) for identity, patterns in rows]


def listening_endpoints(project_id: str | SQLColumnExpression[str]) -> ColumnElement[bool]:
    """Pending ones are told as well: what waits for them is sent once they are active."""
    return and_(
        WebhookEndpointRow.project_id == project_id,
        or_(WebhookEndpointRow.state == "active", WebhookEndpointRow.state == "pending"),
        WebhookEndpointRow.deleted_at.is_(None),
    )


_LISTENING = (
    select(WebhookEndpointRow.id, WebhookEndpointRow.events)
    .where(listening_endpoints(bindparam("project_id", type_=Text)))
    .order_by(WebhookEndpointRow.id)
)
