"""Items go into the database many at a time, by COPY; repetitions of what is there already are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from sqlalchemy.orm import Session

from styleflow.batches.items import Item, Wrong
from styleflow.jobs.batch_counts import DEDUPLICATED, INVALID, LISTED, add_counts

_INCOMING = (
    "create temporary table if not exists batch_incoming"
    " (position bigint, state text, identity bytea, item text, error_code text, error_message text)"
    " on commit delete rows"
)
_COPY = "copy batch_incoming (position, state, identity, item, error_code, error_message) from stdin"
# In order of position, so that of two lines that name the same the first one stays.
_KEEP = (
    "with kept as (insert into batch_items (batch_id, position, state, identity, item, error_code, error_message)"
    " select %s, position, state, identity, item::jsonb, error_code, error_message from batch_incoming"
    " order by position"
    " on conflict do nothing returning state)"
    " select count(*) filter (where state = 'listed'), count(*) filter (where state = 'invalid') from kept"
)


@dataclass(frozen=True, slots=True)
class Placed:
    """An item, or what is wrong with it, at its place in the batch."""

    position: int
    found: Item | Wrong


def keep_items(session: Session, batch_id: str, placed: Sequence[Placed]) -> None:
    """Store the items of one batch and count them. What is stored already, by place or by name, stays as it is."""
    if not placed:
        return
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("items are copied through psycopg")
    with connection.cursor() as cursor:
        cursor.execute(_INCOMING)
        with cursor.copy(_COPY) as copy:
            for each in placed:
                copy.write_row(_row(each))
        listed, invalid = cursor.execute(_KEEP, [batch_id]).fetchone() or (0, 0)
    add_counts(session, batch_id, {LISTED: listed, INVALID: invalid, DEDUPLICATED: len(placed) - listed - invalid})


def _row(placed: Placed) -> tuple[int, str, bytes | None, str, str | None, str | None]:
    match placed.found:
        case Item(identity, content):
            return placed.position, LISTED, identity, content, None, None
        case Wrong(code, message):
            return placed.position, INVALID, None, "{}", code, message
