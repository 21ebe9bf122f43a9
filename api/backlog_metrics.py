"""What the database says about the backlog, read when Prometheus asks and kept for a few seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from time import monotonic

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.jobs import queries

KEEP_SECONDS = 10.0

_STATES = text("select state, count(*) from jobs group by state")
_DELIVERIES = text(
    "select count(*), coalesce(greatest(extract(epoch from now() - min(next_attempt_at)), 0), 0)"
    " from deliveries where state = 'pending'"
)
_EXPORTS = text(
    "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0) from exports where finished_at is null"
)
# By the primary key: the first one that was put there.
_OBJECT_ERASURES = text("select extract(epoch from now() - created_at) from object_erasures order by id limit 1")


class BacklogCollector(Collector):
    """Gauges of one installation; every API process tells the same."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._kept: list[GaugeMetricFamily] = []

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: asking the database at registration would make starting depend on it."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._lock:
            if monotonic() - self._read_at > KEEP_SECONDS:
                self._kept = self._read()
                self._read_at = monotonic()
            yield from self._kept

    def _read(self) -> list[GaugeMetricFamily]:
        up = GaugeMetricFamily("styleflow_database_up", "1 when the database answered.")
        try:
            with self._database.transaction() as session:
                found = [*_lanes(session), _states(session), *_deliveries(session), *_exports(session)]
                found.append(_object_erasures(session))
        except SQLAlchemyError:
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *found]


def _lanes(session: Session) -> list[GaugeMetricFamily]:
    queued = GaugeMetricFamily("styleflow_queued_jobs", "Jobs that wait, by lane.", labels=["lane"])
    oldest = GaugeMetricFamily(
        "styleflow_oldest_queued_seconds", "How long the oldest waiting job of the lane has been due.", labels=["lane"]
    )
    for lane, backlog in queries.backlog(session).items():
        queued.add_metric([lane], backlog.queued)
        oldest.add_metric([lane], backlog.oldest_seconds)
    return [queued, oldest]


def _states(session: Session) -> GaugeMetricFamily:
    family = GaugeMetricFamily("styleflow_jobs", "Jobs that the database holds, by state.", labels=["state"])
    for state, count in session.execute(_STATES):
        family.add_metric([state], count)
    return family


def _deliveries(session: Session) -> list[GaugeMetricFamily]:
    pending = GaugeMetricFamily("styleflow_pending_deliveries", "Webhook deliveries that are still on their way.")
    overdue = GaugeMetricFamily(
        "styleflow_overdue_delivery_seconds", "How long the most overdue webhook delivery has been due."
    )
    count, seconds = session.execute(_DELIVERIES).one()
    pending.add_metric([], count)
    overdue.add_metric([], float(seconds))
    return [pending, overdue]


def _exports(session: Session) -> list[GaugeMetricFamily]:
    under_way = GaugeMetricFamily("styleflow_open_exports", "Exports that wait or are being written.")
    oldest = GaugeMetricFamily("styleflow_oldest_export_seconds", "How long ago the oldest of them was accepted.")
    count, seconds = session.execute(_EXPORTS).one()
    under_way.add_metric([], count)
    oldest.add_metric([], float(seconds))
    return [under_way, oldest]


def _object_erasures(session: Session) -> GaugeMetricFamily:
    waiting = GaugeMetricFamily(
        "styleflow_oldest_object_erasure_seconds", "How long an object has been waiting to be erased; 0 when none does."
    )
    waiting.add_metric([], float(session.execute(_OBJECT_ERASURES).scalar_one_or_none() or 0.0))
    return waiting
