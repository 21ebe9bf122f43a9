"""New words on stored scores, without any inference: chunk by chunk, each a transaction that also says how far it came.

Whoever holds the order's row works on it; when that process dies, the next goes on behind the last whole chunk. Jobs
that were under way when a pass began are waited for, and a next pass looks at them: from the oldest of them on, at
those that do not cite the revision yet. So passes get shorter with the queue, and an order is done when every job of
its scope that there was when it was given has settled.

Of orders that overlap the newest has the last word, whichever of them ends last: a job that a newer order covers is
none of an older one's, be the newer one done or still on its way to it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, text, tuple_, union_all
from sqlalchemy.orm import Session, aliased

from styleflow.database import Database
from styleflow.errors import NotFound, QuotaExceeded
from styleflow.ids import new_id
from styleflow.jobs.state import JobState, look_again_in
from styleflow.policies import restoring
from styleflow.policies.queries import DEFAULT, newest, snapshot, thresholds_of
from styleflow.policy_tables import PolicyRow, RelabelingRow
from styleflow.report import Outcome, Thresholds
from styleflow.tables import JobRow
from styleflow.verdicts import verdict

CHUNK = 2000
PREVIEWED = 100_000
MAX_OPEN = 20
"""Relabellings of one project under way at a time."""
COME_AGAIN_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which jobs; None does not limit."""

    batch_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def order(
    session: Session, project_id: str, name: str, scope: Scope, own: restoring.Own | None = None
) -> RelabelingRow:
    """Write down that the newest revision is to be put on the stored results; for `default`, that they are to go back
    to their packs' thresholds, of which `own` are those that are served. Raises NotFound and QuotaExceeded."""
    revision = 0 if name == DEFAULT else newest(session, project_id, name).revision
    under_way = select(func.count()).where(RelabelingRow.project_id == project_id, RelabelingRow.finished_at.is_(None))
    if (session.scalar(under_way) or 0) >= MAX_OPEN:
        raise QuotaExceeded(
            f"This project has {MAX_OPEN} relabellings under way; come again when one is done.",
            retry_after=COME_AGAIN_SECONDS,
            members={"violated-policies": ["relabelings"]},
        )
    row = RelabelingRow(
        id=new_id("rlb"),
        project_id=project_id,
        policy=name,
        revision=revision,
        own_thresholds=dict(own or {}) if name == DEFAULT else None,
        batch_id=scope.batch_id,
        created_after=scope.created_after,
        created_before=scope.created_before,
        looked_at=0,
        changed=0,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def get(session: Session, project_id: str, relabeling_id: str) -> RelabelingRow:
    """Raises NotFound, also for another project's."""
    row = session.get(RelabelingRow, relabeling_id)
    if row is None or row.project_id != project_id:
        raise NotFound
    return row


def list_relabelings(
    session: Session, project_id: str, limit: int, after: tuple[datetime, str] | None = None
) -> Sequence[RelabelingRow]:
    """Newest first. `after` is (created_at, id) of the last of the previous page."""
    wanted = select(RelabelingRow).where(RelabelingRow.project_id == project_id)
    if after is not None:
        wanted = wanted.where(tuple_(RelabelingRow.created_at, RelabelingRow.id) < tuple_(*after))
    order = RelabelingRow.created_at.desc(), RelabelingRow.id.desc()
    return session.scalars(wanted.order_by(*order).limit(limit)).all()


def relabel_once(database: Database) -> int:
    """One chunk of the open order that has come least far, so that a short one never waits for a long one to end; how
    many jobs were looked at, and one more. Orders that wait for jobs under way have their turn every few seconds."""
    with database.transaction() as session:
        row = session.scalars(
            select(RelabelingRow)
            .where(
                RelabelingRow.finished_at.is_(None),
                or_(RelabelingRow.due_at.is_(None), RelabelingRow.due_at <= func.now()),
            )
            .order_by(RelabelingRow.looked_at, RelabelingRow.created_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        return 0 if row is None else _step(session, row)


def preview(session: Session, project_id: str, thresholds: Thresholds, scope: Scope) -> dict[str, dict[str, int]]:
    """How the words of at most PREVIEWED scored jobs, the newest, would change: word now → word then → jobs."""
    wanted = _scored(project_id, scope)
    rows = session.execute(
        select(JobRow.verdict, JobRow.probability)
        .where(*wanted)
        .order_by(JobRow.created_at.desc(), JobRow.id.desc())
        .limit(PREVIEWED)
    )
    pairs = Counter((str(now), str(verdict(chance, thresholds))) for now, chance in rows if chance is not None)
    found: dict[str, dict[str, int]] = {}
    for (now, then), jobs in sorted(pairs.items()):
        found.setdefault(now, {})[then] = jobs
    return found


def _step(session: Session, row: RelabelingRow) -> int:
    scope = Scope(
        batch_id=row.batch_id, created_after=row.created_after, created_before=row.created_before or row.created_at
    )
    wanted = [*_scored(row.project_id, scope), ~_of_a_newer_order(row)]
    if row.last_created_at is None:
        # Before any job is looked at: whoever settles behind this is waited for, or found below.
        row.next_since = _oldest_under_way(session, row.project_id, scope, row.since)
    else:
        wanted.append(tuple_(JobRow.created_at, JobRow.id) < tuple_(row.last_created_at, row.last_id))
    if row.since is not None:
        wanted += [JobRow.created_at >= row.since, JobRow.held_at.is_(None), ~_cites(row)]
    jobs = session.execute(
        select(JobRow.id, JobRow.created_at, JobRow.probability, JobRow.verdict)
        .where(*wanted)
        .order_by(JobRow.created_at.desc(), JobRow.id.desc())
        .limit(CHUNK)
    ).all()
    if jobs:
        row.changed += _put_words(session, row, {job.id: job.probability for job in jobs})
        row.looked_at += len(jobs)
        row.last_created_at, row.last_id = jobs[-1].created_at, jobs[-1].id
    if len(jobs) < CHUNK:
        _end_of_pass(session, row)
    return len(jobs) + 1


def _put_words(session: Session, row: RelabelingRow, probabilities: Mapping[str, float]) -> int:
    if row.policy == DEFAULT:
        return restoring.restore(session, row.own_thresholds or {}, list(probabilities))
    return apply(session, session.get_one(PolicyRow, (row.project_id, row.policy, row.revision)), probabilities)


def _end_of_pass(session: Session, row: RelabelingRow) -> None:
    moment: datetime = session.execute(select(func.now())).scalar_one()
    if row.next_since is None:
        row.finished_at = moment
        return
    row.since, row.next_since = row.next_since, None
    row.last_created_at = row.last_id = None
    row.due_at = moment + look_again_in(moment - row.created_at)


def _oldest_under_way(session: Session, project_id: str, scope: Scope, since: datetime | None) -> datetime | None:
    """When the oldest job of the scope was made that is queued or running: asked in one statement, so that none slips
    from one state to the other in between. The states are part of it: a parameter would not match the indexes."""
    wanted = _of(project_id, scope)
    if since is not None:
        wanted.append(JobRow.created_at >= since)
    oldest = [
        select(JobRow.created_at)
        .where(*wanted, text(f"jobs.state = '{state}'"))
        .order_by(JobRow.created_at, JobRow.id)
        .limit(1)
        .subquery()
        for state in (JobState.QUEUED, JobState.RUNNING)
    ]
    return min(session.scalars(union_all(*map(select, oldest))), default=None)


def _cites(row: RelabelingRow) -> ColumnElement[bool]:
    """Of a job: that its words are by this revision of the policy already, or by a later one."""
    return and_(JobRow.policy == row.policy, func.coalesce(JobRow.policy_revision, 0) >= row.revision)


def _of_a_newer_order(row: RelabelingRow) -> ColumnElement[bool]:
    """Of a job: that it is in the scope of an order of the project that was given after this one."""
    newer = aliased(RelabelingRow)
    covering = select(newer.id).where(
        newer.project_id == row.project_id,
        tuple_(newer.created_at, newer.id) > tuple_(row.created_at, row.id),
        or_(newer.batch_id.is_(None), newer.batch_id == JobRow.batch_id),
        or_(newer.created_after.is_(None), newer.created_after < JobRow.created_at),
        JobRow.created_at < func.coalesce(newer.created_before, newer.created_at),
    )
    return covering.correlate(JobRow).exists()


def apply(session: Session, policy: PolicyRow, probabilities: Mapping[str, float]) -> int:
    """Put the policy's words on these scored jobs; how many became others. A result shows the words of its job.

    A job that already cites this revision or a later one of the same policy is left alone.
    """
    thresholds = thresholds_of(policy)
    words = {job_id: str(verdict(probability, thresholds)) for job_id, probability in probabilities.items()}
    changed = session.execute(
        _RELABEL,
        {
            "ids": list(words),
            "words": list(words.values()),
            "policy": policy.name,
            "revision": policy.revision,
            "thresholds": _json(thresholds),
        },
    )
    return int(changed.scalar_one())


_RELABEL = text(
    "with word as (select * from unnest(cast(:ids as text[]), cast(:words as text[])) as given (id, word)),"
    " before as (select jobs.id, jobs.verdict, word.word from jobs join word using (id)"
    "  where jobs.outcome = 'scored' and jobs.erased_at is null and jobs.held_at is null"
    "  and not (jobs.policy = :policy and coalesce(jobs.policy_revision, 0) >= :revision)"
    "  order by jobs.id for update of jobs),"
    " relabeled as (update jobs set verdict = before.word, policy = :policy, policy_revision = :revision,"
    "  policy_thresholds = cast(:thresholds as jsonb), row_version = row_version + 1 from before"
    "  where jobs.id = before.id returning jobs.id)"
    " select count(*) from before where word is distinct from verdict"
)


def _scored(project_id: str, scope: Scope) -> list[ColumnElement[bool]]:
    scored = [JobRow.outcome == Outcome.SCORED, JobRow.probability.is_not(None), JobRow.erased_at.is_(None)]
    return [*_of(project_id, scope), *scored]


def _of(project_id: str, scope: Scope) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [JobRow.project_id == project_id]
    if scope.batch_id is not None:
        wanted.append(JobRow.batch_id == scope.batch_id)
    if scope.created_after is not None:
        wanted.append(JobRow.created_at > scope.created_after)
    if scope.created_before is not None:
        wanted.append(JobRow.created_at < scope.created_before)
    return wanted


def _json(thresholds: Thresholds) -> str:
    return json.dumps(snapshot(thresholds))
