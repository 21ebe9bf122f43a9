"""From a list to rows: leased, fenced and resumable, some thousand items to a transaction.

What it may get wrong: nothing is lost or doubled, but an expansion whose owner froze longer than its lease is done by
two for a while; the one with the stale token finds that it may not write, and stops.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session, defer

from styleflow.batch_tables import BatchRow
from styleflow.batches.listing import Checkpoint, Entry, Shelves, entries
from styleflow.batches.state import EXPANDABLE
from styleflow.batches.store import keep_items
from styleflow.database import Database
from styleflow.errors import LeaseLost, RequestError, SourceError, StorageUnavailable, StyleFlowError
from styleflow.jobs.batch_counts import counts_of
from styleflow.webhooks.announce import BATCH_PROGRESS, announce_batch

CHUNK = 5000
TURN_SECONDS = 5.0
"""After so long another batch has its turn."""
TROUBLE_SECONDS = 30.0
"""How long a batch whose store does not answer waits until it is tried again."""

_log = structlog.get_logger(__name__)

_CLAIM = text(
    "update batches set lease_owner = :owner, lease_token = lease_token + 1,"
    " lease_expires_at = now() + make_interval(secs => :seconds)"
    " where id = (select id from batches where finished_at is null and expanded_at is null and state = any(:states)"
    "  and (lease_expires_at is null or lease_expires_at <= now())"
    "  order by lease_expires_at nulls first, created_at limit 1 for update skip locked)"
    " returning id, lease_token, source, checkpoint"
)
_GUARD = " where id = :id and lease_token = :token and expanded_at is null and state = any(:states) returning id"
_ADVANCE = text(
    "update batches set checkpoint = cast(:checkpoint as jsonb),"
    " lease_expires_at = now() + make_interval(secs => :seconds)" + _GUARD
)
_LEAVE = text(
    "update batches set lease_owner = null, lease_expires_at = now() + make_interval(secs => :seconds)" + _GUARD
)
# The items of an inline list stand in rows of their own now, from where they can be erased one by one.
_COMPLETE = text(
    "update batches set expanded_at = now(), lease_owner = null, lease_expires_at = null, checkpoint = '{}',"
    " error = coalesce(cast(:error as jsonb), error),"
    " state = case state when 'expanding' then 'running' else state end,"
    " source = case source ->> 'type' when 'inline'"
    "  then jsonb_build_object('type', 'inline', 'count', jsonb_array_length(source -> 'items')) else source end"
    + _GUARD
)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A batch whose expansion this process holds until the lease runs out."""

    batch_id: str
    token: int
    source: Mapping[str, Any]
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True)
class Expander:
    """Lists items of one batch after the other, each for some seconds."""

    database: Database
    shelves: Shelves
    owner: str
    lease_seconds: float = 60.0
    chunk: int = CHUNK
    turn_seconds: float = TURN_SECONDS

    def expand_once(self) -> int:
        """Give the batch that waits longest its turn; returns how many batches there were to do: 0 or 1.

        Raises StorageUnavailable when its store does not answer; it is tried again later, where it stopped.
        """
        held = self._claim()
        if held is None:
            return 0
        try:
            self._expand(held)
        except LeaseLost:
            _log.info("expansion_given_up", batch=held.batch_id)
        except StorageUnavailable:
            self._write(_LEAVE, held, seconds=TROUBLE_SECONDS)
            raise
        except (SourceError, RequestError) as error:
            _log.info("expansion_refused", batch=held.batch_id, code=error.code)
            self._complete(held, error=json.dumps(_value(error)))
        return 1

    def _expand(self, held: Held) -> None:
        turn_ends = time.monotonic() + self.turn_seconds
        with closing(entries(held.source, held.checkpoint, self.shelves)) as listed:
            while chunk := list(islice(listed, self.chunk)):
                self._keep(held, chunk)
                if time.monotonic() >= turn_ends:
                    self._write(_LEAVE, held, seconds=0.0)
                    return
        self._complete(held, error=None)

    def _claim(self) -> Held | None:
        with self.database.transaction() as session:
            row = session.execute(
                _CLAIM, {"owner": self.owner, "seconds": self.lease_seconds, "states": list(EXPANDABLE)}
            ).one_or_none()
        if row is None:
            return None
        return Held(batch_id=row.id, token=row.lease_token, source=row.source, checkpoint=row.checkpoint)

    def _keep(self, held: Held, chunk: list[Entry]) -> None:
        with self.database.transaction() as session:
            # The guard first: it locks the batch, so that nobody cancels or takes it over meanwhile.
            checkpoint = json.dumps(chunk[-1].checkpoint)
            _guarded(session, _ADVANCE, held, checkpoint=checkpoint, seconds=self.lease_seconds)
            keep_items(session, held.batch_id, [entry.placed for entry in chunk if entry.placed is not None])

    def _complete(self, held: Held, error: str | None) -> None:
        with self.database.transaction() as session:
            try:
                _guarded(session, _COMPLETE, held, error=error)
            except LeaseLost:
                _log.info("expansion_given_up", batch=held.batch_id)
                return
            batch = session.get_one(BatchRow, held.batch_id, options=[defer(BatchRow.source)])
            announce_batch(session, batch, counts_of(session, [batch.id])[batch.id], BATCH_PROGRESS)

    def _write(self, statement: Any, held: Held, **values: Any) -> None:
        with self.database.transaction() as session:
            try:
                _guarded(session, statement, held, **values)
            except LeaseLost:
                _log.info("expansion_given_up", batch=held.batch_id)


def _guarded(session: Session, statement: Any, held: Held, **values: Any) -> None:
    """Raises LeaseLost when the batch is another's by now, or is not to be expanded any more."""
    guard = {"id": held.batch_id, "token": held.token, "states": list(EXPANDABLE)}
    if session.execute(statement, {**guard, **values}).first() is None:
        raise LeaseLost


def _value(error: StyleFlowError) -> dict[str, Any]:
    return {"code": error.code, "message": str(error)}
