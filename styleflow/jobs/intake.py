"""The promise: a job is recorded together with its nudge and its first event, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from styleflow.errors import BacklogFull, Erased, NotRetryable
from styleflow.ids import new_id
from styleflow.jobs import keeping
from styleflow.jobs.keeping import KeptClass, Retention
from styleflow.jobs.source_copies import hold_for
from styleflow.jobs.state import TERMINAL, JobState, Lane
from styleflow.jobs.tombstones import class_ended
from styleflow.jobs.transitions import WAKE, clock, nudges
from styleflow.quotas import UNLIMITED, Quotas, accept_jobs
from styleflow.tables import JobRow
from styleflow.webhooks.announce import announcement
from styleflow.writes import write_all


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What a caller asks for, already checked by the door."""

    project_id: str
    source: dict[str, Any]
    model: str
    lane: Lane = Lane.STANDARD
    options: dict[str, Any] = field(default_factory=dict)
    client_ref: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    callback_endpoint_id: str | None = None
    deadline: datetime | None = None
    """With time zone. A job that nobody claimed until then expires."""
    request_id: str | None = None
    parent_job_id: str | None = None
    dedupe: str = "off"
    policy: str = "default"
    policy_revision: int | None = None
    policy_thresholds: dict[str, Any] | None = None
    batch_id: str | None = None
    batch_position: int | None = None
    max_attempts: int
    expires_in_days: float
    """How long the job and its result are kept, from now; from its end on when `retention` says how long."""
    retention: Retention | None = None
    """What is agreed for it; None takes the operator's defaults when it is finished."""


def submit(session: Session, new: NewJob, quotas: Quotas = UNLIMITED) -> JobRow:
    """Record a job in `queued` with its nudge and the event `job.queued`; dispatch is woken at commit.

    `quotas` are those of a project without own ones. Raises QuotaExceeded; the transaction must then be rolled back.
    """
    return submit_all(session, [new], quotas)[0]


def submit_all(session: Session, wanted: Sequence[NewJob], quotas: Quotas = UNLIMITED) -> list[JobRow]:
    """`submit` for several jobs of one project, in a handful of statements. In the order in which they were given."""
    moment = clock(session)
    jobs = [_queued(new, moment) for new in wanted]
    events = announcement(session, jobs, "job.queued")
    session.add_all(jobs)
    session.flush()
    if jobs:
        write_all(session, [*events, nudges(jobs)], WAKE)
        accept_jobs(session, jobs[0].project_id, Counter(job.model for job in jobs), quotas)
    # Behind the quota's lock, which whoever feeds a batch takes first: in another order the two could wait for each
    # other, where both name one upload.
    for job in jobs:
        hold_for(session, job)
    return jobs


def _queued(new: NewJob, moment: datetime) -> JobRow:
    return JobRow(
        id=new_id("job"),
        project_id=new.project_id,
        parent_job_id=new.parent_job_id,
        state=JobState.QUEUED,
        lane=Lane(new.lane),
        run_at=moment,
        deadline=new.deadline,
        batch_id=new.batch_id,
        batch_position=new.batch_position,
        source=new.source,
        model=new.model,
        options=new.options,
        callback_endpoint_id=new.callback_endpoint_id,
        dedupe=new.dedupe,
        policy=new.policy,
        policy_revision=new.policy_revision,
        policy_thresholds=new.policy_thresholds,
        client_ref=new.client_ref,
        tags=new.tags,
        job_metadata=new.metadata,
        request_id=new.request_id,
        attempt=0,
        max_attempts=new.max_attempts,
        crash_count=0,
        lease_token=0,
        progress={},
        row_version=1,
        event_sequence=0,
        created_at=moment,
        expires_at=moment + timedelta(days=new.expires_in_days),
        retention=new.retention.stored() if new.retention else None,
        source_until=_source_until(new, moment),
    )


def _source_until(new: NewJob, moment: datetime) -> datetime | None:
    """Only of uploads do we have a copy."""
    if new.retention is None or "upload_id" not in new.source:
        return None
    return moment + timedelta(hours=new.retention.source_hours)


def retry_of(session: Session, job: JobRow, *, request_id: str | None = None, quotas: Quotas = UNLIMITED) -> JobRow:
    """A new job for the same video, with `parent_job_id`. A deadline that has passed is not carried over.

    Raises NotRetryable unless the job is finished and did not succeed, Erased when its source is gone, QuotaExceeded.
    """
    if job.erased_at is not None:
        raise Erased
    if JobState(job.state) not in TERMINAL - {JobState.SUCCEEDED}:
        raise NotRetryable
    return _again(session, job, job.model, job.options, request_id, quotas)


def rerun_of(
    session: Session,
    job: JobRow,
    *,
    model: str,
    options: dict[str, Any] | None = None,
    request_id: str | None = None,
    quotas: Quotas = UNLIMITED,
) -> JobRow:
    """A new job for the video of a finished one, on the pack `model`, with `parent_job_id`. `options` None keeps them.

    The source stays pinned to the version that was judged. Raises NotRetryable while the job is not finished.
    """
    if JobState(job.state) not in TERMINAL:
        raise NotRetryable("Only a finished job can be run again.")
    kept = job.options if options is None else options
    return _again(session, job, model, kept, request_id, quotas)


def _again(
    session: Session, job: JobRow, model: str, options: dict[str, Any], request_id: str | None, quotas: Quotas
) -> JobRow:
    if KeptClass.SOURCE in (job.retention or {}).get("ended", {}):
        raise class_ended(job, KeptClass.SOURCE)
    began = job.created_at if job.retention is None or job.finished_at is None else job.finished_at
    kept = timedelta(days=365) if job.expires_at is None else job.expires_at - began
    in_time = job.deadline is not None and job.deadline > clock(session)
    return submit(
        session,
        NewJob(
            project_id=job.project_id,
            source=job.source,
            model=model,
            lane=Lane(job.lane),
            options=options,
            dedupe=job.dedupe,
            policy=job.policy,
            policy_revision=job.policy_revision,
            # Without a revision they are the pack's own, put back on a result: the next pack has its own.
            policy_thresholds=None if job.policy_revision is None else job.policy_thresholds,
            client_ref=job.client_ref,
            tags=job.tags,
            metadata=job.job_metadata,
            callback_endpoint_id=job.callback_endpoint_id,
            deadline=job.deadline if in_time else None,
            request_id=request_id,
            parent_job_id=job.id,
            max_attempts=job.max_attempts,
            expires_in_days=kept / timedelta(days=1),
            retention=None if job.retention is None else keeping.read(job.retention),
        ),
        quotas,
    )


def admit(session: Session, max_queued: int) -> None:
    """Raise BacklogFull when about `max_queued` jobs wait.

    The figure is the planner's estimate of the nudges, one per queued job: counting them exactly would cost each
    submission a scan of the very backlog that it is afraid of.
    """
    estimate = session.execute(text("select reltuples from pg_class where oid = 'outbox'::regclass")).scalar_one()
    if estimate >= max_queued:
        raise BacklogFull
