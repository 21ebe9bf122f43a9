"""What a project may have: quotas on amounts, checked in the transaction that takes the amount.

A project without quotas takes no lock and pays nothing but the row that counts its usage. With one, the transactions
that take amounts of it follow one another from their check to their commit, so that no two of them take the last unit;
those that give back (a job that ends) wait for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from styleflow import usage
from styleflow.batch_tables import BatchRow
from styleflow.database import transaction_time
from styleflow.errors import QuotaExceeded
from styleflow.tenant_tables import ProjectQuotaRow, UsageDeltaRow
from styleflow.usage import Used, today
from styleflow.webhook_tables import WebhookEndpointRow

LOCK_SPACE = 727_006
"""Advisory locks of this space belong to projects of which amounts are taken."""
PAUSE_SECONDS = 30
"""After so long it is worth asking again for what is given back at no time that is known."""


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """The most of each that a project may have; 0 sets no limit. Days are UTC's."""

    active_jobs: int = 0
    """Jobs that are queued or running."""
    jobs_per_day: int = 0
    """Jobs accepted, those of batches among them."""
    worker_seconds_per_day: int = 0
    """Seconds for which attempts held workers; one that still runs is not in it."""
    upload_bytes_per_day: int = 0
    """Bytes of announced uploads."""
    open_batches: int = 0
    """Batches that are not finished."""
    webhook_endpoints: int = 0

    @property
    def on_jobs(self) -> bool:
        return bool(self.active_jobs or self.jobs_per_day or self.worker_seconds_per_day)

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Quotas:
        """From the settings of that name with `quota_` before it, as the doors read them."""
        return cls(**{one.name: int(values[f"quota_{one.name}"]) for one in fields(cls)})


UNLIMITED = Quotas()
NAMES = tuple(one.name for one in fields(Quotas))
DAILY = frozenset({"jobs_per_day", "worker_seconds_per_day", "upload_bytes_per_day"})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One quota, and how much of it is taken."""

    name: str
    limit: int
    """0 sets no limit."""
    used: int
    resets_at: datetime | None
    """When a quota of a day begins anew; None for one that is given back piece by piece."""


def effective(own: Mapping[str, Any] | None, defaults: Quotas) -> Quotas:
    """The project's own quotas, with the installation's where it has none of its own (null)."""
    chosen = {name: value for name, value in (own or {}).items() if name in NAMES and value is not None}
    return Quotas(**{**{name: getattr(defaults, name) for name in NAMES}, **chosen})


def of_project(session: Session, project_id: str, defaults: Quotas) -> Quotas:
    """What counts for the project now."""
    return effective(session.scalar(_own_quotas(project_id)), defaults)


def set_own(session: Session, project_id: str, changes: Mapping[str, int | None]) -> dict[str, int | None]:
    """Change the project's own quotas: a number, 0 for no limit, None for the installation's default. Returns all."""
    row = upsert(ProjectQuotaRow).values(project_id=project_id, **changes)
    session.execute(row.on_conflict_do_update(index_elements=["project_id"], set_=dict(changes)))
    own: Mapping[str, int | None] = session.execute(_own_quotas(project_id)).scalar_one()
    return {name: own[name] for name in NAMES}


def accept_jobs(session: Session, project_id: str, models: Mapping[str, int], defaults: Quotas) -> None:
    """Count jobs, so many of each model, that this transaction has recorded. Raises QuotaExceeded: roll it back then.

    To be called last: from here on to its commit the project's other submissions wait, where it has a quota.
    """
    own = _count(session, [_accepted(session, project_id, model, jobs) for model, jobs in models.items()])
    quotas = effective(own, defaults)
    if not quotas.on_jobs:
        return
    _lock(session, project_id)
    found = usage.used(session, project_id)
    over = [one for one in standings(session, quotas, found) if one.limit and _over(one)]
    if over:
        raise refusal(over, transaction_time(session))


def room_for_jobs(session: Session, project_id: str, defaults: Quotas) -> int | None:
    """How many jobs `accept_jobs` would take now; None without limit. Nobody else takes of it until the commit."""
    quotas = of_project(session, project_id, defaults)
    if not quotas.on_jobs:
        return None
    _lock(session, project_id)
    found = usage.used(session, project_id)
    return min(max(0, room) for room in _rooms(quotas, found))


def accept_upload(session: Session, project_id: str, size_bytes: int, defaults: Quotas) -> None:
    """Count the bytes of an upload that is announced. Raises QuotaExceeded."""
    values = {"project_id": project_id, "day": today(session), "upload_bytes": size_bytes}
    quotas = effective(_count(session, [values]), defaults)
    if not quotas.upload_bytes_per_day:
        return
    _lock(session, project_id)
    taken = usage.used(session, project_id).upload_bytes
    if taken > quotas.upload_bytes_per_day:
        standing = _standing(session, "upload_bytes_per_day", quotas, taken - size_bytes)
        raise refusal([standing], transaction_time(session))


def accept_batch(session: Session, project_id: str, defaults: Quotas) -> None:
    """Call it behind the change that opens a batch, in its transaction. Raises QuotaExceeded."""
    _accept_held(session, project_id, "open_batches", defaults)


def accept_endpoint(session: Session, project_id: str, defaults: Quotas) -> None:
    """Call it behind the change that makes an endpoint, in its transaction. Raises QuotaExceeded."""
    _accept_held(session, project_id, "webhook_endpoints", defaults)


def all_standings(session: Session, project_id: str, defaults: Quotas) -> list[Standing]:
    """Every quota of the project, in the order of NAMES, the unlimited among them."""
    quotas = of_project(session, project_id, defaults)
    found = usage.used(session, project_id)
    held = {name: _held(session, project_id, name) for name in ("open_batches", "webhook_endpoints")}
    daily = {"upload_bytes_per_day": found.upload_bytes}
    of_jobs = standings(session, quotas, found)
    rest = [_standing(session, name, quotas, taken) for name, taken in {**daily, **held}.items()]
    return sorted([*of_jobs, *rest], key=lambda one: NAMES.index(one.name))


def standings(session: Session, quotas: Quotas, found: Used) -> list[Standing]:
    """The quotas on jobs."""
    taken = {
        "active_jobs": found.active_jobs,
        "jobs_per_day": found.accepted,
        "worker_seconds_per_day": found.worker_ms // 1000,
    }
    return [_standing(session, name, quotas, used) for name, used in taken.items()]


def refusal(over: Sequence[Standing], moment: datetime) -> QuotaExceeded:
    """Names the quotas that are used up, and waits for the last of them."""
    pauses = [PAUSE_SECONDS if one.resets_at is None else _seconds_until(one.resets_at, moment) for one in over]
    allowances = " and ".join(f"{one.limit} ({policy_name(one.name)})" for one in over)
    message = f"More than the {allowances} that this project may have; come again in {max(pauses)} s."
    return QuotaExceeded(
        message, retry_after=max(pauses), members={"violated-policies": [policy_name(one.name) for one in over]}
    )


def policy_name(name: str) -> str:
    """As `violated-policies` and `/v1/limits` call it: `jobs-per-day`."""
    return name.replace("_", "-")


def _over(one: Standing) -> bool:
    """Jobs are counted before they are checked; seconds of workers are those of jobs before them."""
    return one.used >= one.limit if one.name == "worker_seconds_per_day" else one.used > one.limit


def _rooms(quotas: Quotas, found: Used) -> list[int]:
    rooms = []
    if quotas.active_jobs:
        rooms.append(quotas.active_jobs - found.active_jobs)
    if quotas.jobs_per_day:
        rooms.append(quotas.jobs_per_day - found.accepted)
    if quotas.worker_seconds_per_day and found.worker_ms // 1000 >= quotas.worker_seconds_per_day:
        rooms.append(0)
    return rooms or [2**31]


def _standing(session: Session, name: str, quotas: Quotas, taken: int) -> Standing:
    resets_at = _tomorrow(transaction_time(session)) if name in DAILY else None
    return Standing(name=name, limit=getattr(quotas, name), used=taken, resets_at=resets_at)


def _tomorrow(moment: datetime) -> datetime:
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=1)


def _seconds_until(then: datetime, moment: datetime) -> int:
    return max(1, -((moment - then) // timedelta(seconds=1)))


def _accepted(session: Session, project_id: str, model: str, jobs: int) -> dict[str, Any]:
    return {"project_id": project_id, "day": today(session), "model": model, "accepted": jobs, "active_jobs": jobs}


def _count(session: Session, deltas: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Write the deltas of one project and look up its own quotas, in one statement."""
    own = _own_quotas(deltas[0]["project_id"]).scalar_subquery()
    # SQLAlchemy keeps the compiled form of an insert of one row, and compiles one of several rows anew each time.
    values = dict(deltas[0]) if len(deltas) == 1 else [dict(delta) for delta in deltas]
    found: Mapping[str, Any] | None = (
        session.execute(insert(UsageDeltaRow).values(values).returning(own)).scalars().first()
    )
    return found


def _own_quotas(project_id: str) -> Any:
    row = func.to_jsonb(text("project_quotas"))
    return select(row).select_from(ProjectQuotaRow).where(ProjectQuotaRow.project_id == project_id)


def _accept_held(session: Session, project_id: str, name: str, defaults: Quotas) -> None:
    quotas = of_project(session, project_id, defaults)
    limit = getattr(quotas, name)
    if not limit:
        return
    session.flush()
    _lock(session, project_id)
    taken = _held(session, project_id, name)
    if taken > limit:
        raise refusal([_standing(session, name, quotas, taken - 1)], transaction_time(session))


def _held(session: Session, project_id: str, name: str) -> int:
    """Few rows: there is an index for those that count, and the quota itself keeps them few."""
    if name == "open_batches":
        open_ones = select(func.count()).where(BatchRow.project_id == project_id, BatchRow.finished_at.is_(None))
        return session.execute(open_ones).scalar_one()
    kept = WebhookEndpointRow.project_id == project_id, WebhookEndpointRow.deleted_at.is_(None)
    return session.execute(select(func.count()).where(*kept)).scalar_one()


def _lock(session: Session, project_id: str) -> None:
    session.execute(
        text("select pg_advisory_xact_lock(:space, hashtext(:id))"), {"space": LOCK_SPACE, "id": project_id}
    )
