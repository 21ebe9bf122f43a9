"""Orders to erase: leased, resumable, some hundred jobs to a transaction, with a proof at the end.

An order walks over the jobs that it names, in order of their ids. Finished ones are erased; queued ones are canceled
and erased; running ones are told to stop, and another walk finds what became of them; those under legal hold are
counted. One over a video's digest does not know yet what jobs hold whose video nobody has hashed: it lets them run, and
walks again until none of those is left that were there when it was given. When a walk has nothing to wait for, and the
object store has let go of the last object, the order is completed.

What it may get wrong: nothing is erased twice or missed, but an order whose owner froze longer than its lease is walked
by two; the one with the stale token finds that it may not write, and stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from sqlalchemy import Text, func, literal_column, or_, select, text, union_all
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.errors import LegalHold, NotFound
from styleflow.ids import new_id
from styleflow.jobs.erasure import blank_canceled_items, erase_jobs
from styleflow.jobs.erasure_proofs import complete, note_kept
from styleflow.jobs.source_copies import ERASED, erase_stale
from styleflow.jobs.state import TERMINAL, JobEvent, JobState, look_again_in
from styleflow.jobs.tombstones import Why, gone
from styleflow.jobs.transitions import clock, finish
from styleflow.retention_tables import ErasureRow, ObjectErasureRow, TombstoneRow
from styleflow.tables import JobRow, UploadRow

CHUNK = 200
TURN_CHUNKS = 50
"""After so many another order has its turn."""
ORDERS_AT_ONCE = 100
"""So many that only wait are passed over in one go, so that they keep nobody from a turn."""
LOOK_AGAIN_SECONDS = 2.0
"""How long an order waits that has nothing to do but wait."""
MAX_COUNTED = 1000

_media_sha256 = literal_column("jobs.media ->> 'sha256'", Text)
_source_sha256 = literal_column("jobs.source ->> 'sha256'", Text)
_log = structlog.get_logger(__name__)

By = Literal["client_ref", "sha256", "job_ids"]


def order(
    session: Session, project_id: str, by: By, value: Any, *, requested_by: str, created_before: datetime | None = None
) -> ErasureRow:
    """Record an order over the jobs that there are now, or were made until `created_before`. Somebody will carry it
    out: a light worker, or whoever calls `walk`."""
    moment = clock(session)
    row = ErasureRow(
        id=new_id("era"),
        project_id=project_id,
        state="pending",
        selector={"type": by, "value": value},
        created_before=moment if created_before is None else min(created_before, moment),
        requested_by=requested_by,
        cursor="",
        erased=0,
        uploads=0,
        unknown=_unknown(session, project_id, value) if by == "job_ids" else 0,
        held=0,
        waiting=0,
        undecided=0,
        items=0,
        walked=False,
        lease_token=0,
        created_at=moment,
    )
    session.add(row)
    session.flush()
    return row


def order_job(session: Session, project_id: str, job_id: str, requested_by: str) -> ErasureRow:
    """Erase one job: at once, or when its worker has let go of it. Asked for again, the same order.

    Raises NotFound; LegalHold; and Erased when nobody asked for its erasure: its time was over.
    """
    job = session.scalars(
        select(JobRow)
        .where(JobRow.id == job_id, JobRow.project_id == project_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if job is None or job.erased_at is not None:
        return _earlier(session, project_id, job_id, job)
    if job.held_at is not None:
        raise LegalHold
    under_way = select(ErasureRow).where(
        ErasureRow.project_id == project_id,
        ErasureRow.finished_at.is_(None),
        ErasureRow.walked.is_(False),
        ErasureRow.selector == {"type": "job_ids", "value": [job_id]},
    )
    row = session.scalars(under_way.order_by(ErasureRow.created_at).limit(1)).one_or_none()
    if row is None:
        row = order(session, project_id, "job_ids", [job_id], requested_by=requested_by)
        walk(session, row)
    return row


def get_erasure(session: Session, project_id: str, erasure_id: str) -> ErasureRow:
    """Raises NotFound, also for another project's."""
    row = session.get(ErasureRow, erasure_id)
    if row is None or row.project_id != project_id:
        raise NotFound
    return row


def list_erasures(
    session: Session, project_id: str, state: str | None, limit: int, before: str | None = None
) -> Sequence[ErasureRow]:
    """Newest first, the completed ones among them; behind the one with the id `before`."""
    wanted = select(ErasureRow).where(ErasureRow.project_id == project_id)
    if state is not None:
        wanted = wanted.where(ErasureRow.state == state)
    if before is not None:
        wanted = wanted.where(ErasureRow.id < before)
    return session.scalars(wanted.order_by(ErasureRow.id.desc()).limit(limit)).all()


def objects_waiting_of(session: Session, erasure_ids: Sequence[str]) -> dict[str, int]:
    """`objects_waiting` of several; those for which none waits are left out."""
    waiting = select(ObjectErasureRow.erasure_id, func.count()).where(ObjectErasureRow.erasure_id.in_(erasure_ids))
    rows = session.execute(waiting.group_by(ObjectErasureRow.erasure_id))
    return {str(erasure_id): count for erasure_id, count in rows}


def objects_waiting(session: Session, erasure_id: str) -> int:
    """How many objects, or prefixes, the store has yet to let go of."""
    waiting = select(func.count()).where(ObjectErasureRow.erasure_id == erasure_id)
    return session.execute(waiting).scalar_one()


def walk(session: Session, row: ErasureRow) -> bool:
    """One step of a locked order; False when there is nothing to do but wait, or nothing at all."""
    row.state = "running"
    if row.walked:
        return False
    if not row.cursor:
        row.held = row.waiting = 0
        # Before any job is looked at: whoever settles behind this is counted here, or found below.
        row.undecided = _undecided(session, row)
    jobs = _next_jobs(session, row)
    moment = clock(session)
    ended = [job for job in jobs if job.held_at is None and _stopped(session, job, moment)]
    named = [job.source["upload_id"] for job in ended if job.source.get("upload_id")]
    erase_jobs(session, ended, Why(reason="request", requested_by=row.requested_by, erasure_id=row.id))
    note_kept(session, row, named)
    held = sum(job.held_at is not None for job in jobs)
    row.erased += len(ended)
    row.held += held
    row.waiting += len(jobs) - len(ended) - held
    if len(jobs) == CHUNK:
        row.cursor = jobs[-1].id
        session.flush()
        return True
    more = _end_of_walk(session, row)
    session.flush()
    return more


def _end_of_walk(session: Session, row: ErasureRow) -> bool:
    """True when there is more to do at once."""
    if row.waiting or row.undecided:
        row.cursor = ""
        return False
    if row.selector["type"] == "client_ref":
        blanked = blank_canceled_items(session, row.project_id, row.selector["value"], row.created_before)
        row.items += blanked
        if blanked:
            return True
    if row.selector["type"] == "sha256":
        named = select(UploadRow.id).where(
            UploadRow.project_id == row.project_id,
            UploadRow.sha256 == row.selector["value"],
            UploadRow.state != ERASED,
            UploadRow.created_at <= row.created_before,
        )
        uploads = session.scalars(named).all()
        row.uploads = len(erase_stale(session, uploads, row.id))
        note_kept(session, row, uploads)
    row.walked = True
    return False


def _undecided(session: Session, row: ErasureRow) -> int:
    """Jobs under way of which it shows at their end only whether they are meant; not more than MAX_COUNTED of a state.

    The states are part of the statement: a parameter would not match the indexes of some states.
    """
    if row.selector["type"] != "sha256":
        return 0
    some = [
        select(JobRow.id)
        .where(
            JobRow.project_id == row.project_id,
            text(f"jobs.state = '{state}'"),
            JobRow.created_at <= row.created_before,
            _source_sha256.is_(None),
        )
        .limit(MAX_COUNTED)
        .subquery()
        for state in (JobState.QUEUED, JobState.RUNNING)
    ]
    return session.execute(select(func.count()).select_from(union_all(*map(select, some)).subquery())).scalar_one()


def _stopped(session: Session, job: JobRow, moment: datetime) -> bool:
    """Whether it is over with the job; told to stop, when it is not."""
    if job.state == JobState.QUEUED:
        finish(session, job, JobEvent.CANCEL)
    elif job.state == JobState.RUNNING and job.cancel_requested_at is None:
        job.cancel_requested_at = moment
        job.row_version += 1
    return JobState(job.state) in TERMINAL


def _next_jobs(session: Session, row: ErasureRow) -> Sequence[JobRow]:
    by, value = row.selector["type"], row.selector["value"]
    wanted = select(JobRow).where(
        JobRow.project_id == row.project_id,
        JobRow.erased_at.is_(None),
        JobRow.created_at <= row.created_before,
        JobRow.id > row.cursor,
    )
    match by:
        case "client_ref":
            wanted = wanted.where(JobRow.client_ref == value)
        case "sha256":
            wanted = wanted.where(or_(_media_sha256 == value, _source_sha256 == value))
        case _:
            wanted = wanted.where(JobRow.id.in_(value))
    # Waited for, not skipped: a worker's heartbeat or a hold takes a moment, and then decides what is done here.
    locked = wanted.order_by(JobRow.id).limit(CHUNK).with_for_update().execution_options(populate_existing=True)
    return session.scalars(locked).all()


def _unknown(session: Session, project_id: str, job_ids: Sequence[str]) -> int:
    """How many of the ids name nothing of this project, and never did as far as is remembered."""
    known: set[str] = set()
    for table, key in ((JobRow, JobRow.id), (TombstoneRow, TombstoneRow.job_id)):
        known |= set(session.scalars(select(key).where(key.in_(job_ids), table.project_id == project_id)))
    return len(set(job_ids) - known)


def _earlier(session: Session, project_id: str, job_id: str, job: JobRow | None) -> ErasureRow:
    stone = session.get(TombstoneRow, job_id)
    if stone is not None and stone.project_id == project_id and stone.erasure_id is not None:
        row = session.get(ErasureRow, stone.erasure_id)
        if row is not None:
            return row
    raise gone(session, project_id, job_id, job)


# --- carried out by the light worker ------------------------------------------------------------------

_CLAIM = text(
    "update erasures set lease_owner = :owner, lease_token = lease_token + 1,"
    " lease_expires_at = now() + make_interval(secs => :seconds)"
    " where id = (select id from erasures where finished_at is null"
    "  and (lease_expires_at is null or lease_expires_at <= now())"
    "  order by lease_expires_at nulls first limit 1 for update skip locked)"
    " returning id, lease_token"
)


@dataclass(frozen=True, kw_only=True)
class ErasureRunner:
    """Carries out orders, one after the other, each for a turn."""

    database: Database
    owner: str
    selector_key: bytes
    """By which a completed order remembers what it was about."""
    lease_seconds: float = 60.0

    def run_once(self) -> int:
        """Give orders their turns, those that wait longest first, until one came further by it: then 1, else 0."""
        for _ in range(ORDERS_AT_ONCE):
            further = self._turn()
            if further is None:
                return 0
            if further:
                return 1
        return 0

    def _turn(self) -> bool | None:
        """Whether the order that waits longest came further; None when none waits."""
        with self.database.transaction() as session:
            claimed = session.execute(_CLAIM, {"owner": self.owner, "seconds": self.lease_seconds}).one_or_none()
        if claimed is None:
            return None
        steps = 0
        while steps < TURN_CHUNKS and self._step(claimed.id, claimed.lease_token):
            steps += 1
        return self._leave(claimed.id, claimed.lease_token) or steps > 0

    def _step(self, erasure_id: str, token: int) -> bool:
        with self.database.transaction() as session:
            row = _held(session, erasure_id, token)
            if row is None:
                return False
            row.lease_expires_at = _later(session, self.lease_seconds)
            return walk(session, row)

    def _leave(self, erasure_id: str, token: int) -> bool:
        """Complete it, or give it back. True when it is completed."""
        with self.database.transaction() as session:
            row = _held(session, erasure_id, token)
            if row is None:
                return False
            done = row.walked and not objects_waiting(session, row.id)
            row.lease_owner = None
            row.lease_expires_at = clock(session) + _pause(session, row)
            if done:
                complete(session, row, self.selector_key)
        if done:
            _log.info("erasure_completed", erasure=erasure_id)
        return done


def _pause(session: Session, row: ErasureRow) -> timedelta:
    """For how long an order has nothing to do."""
    if row.undecided and not row.waiting and not row.cursor:
        return look_again_in(clock(session) - row.created_at)
    return timedelta(seconds=LOOK_AGAIN_SECONDS)


def _held(session: Session, erasure_id: str, token: int) -> ErasureRow | None:
    return session.scalars(
        select(ErasureRow)
        .where(ErasureRow.id == erasure_id, ErasureRow.lease_token == token, ErasureRow.finished_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def _later(session: Session, seconds: float) -> datetime:
    return session.execute(select(func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds))).scalar_one()
