"""For how long a job will hold a worker, by what those before it took. An estimate: only whose turn it is goes by it.

What is known of a job that waits is its project, lane and model, and of an upload its size. Nothing is written for it
when a job is accepted: whoever dispatches reads what settled lately, and remembers it for as long as it lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

UNKNOWN_SECONDS = 30.0
"""Of a job when nothing has settled yet: then jobs are counted, whatever the number."""
LEAST_SECONDS = 0.01
"""Not even an empty file is free."""
FADING = 0.98
"""What an earlier job still counts after each later one: half after 34."""
LEARNED_AT_ONCE = 1000
SIZE_BYTES = (
    "case when jobs.source ->> 'type' = 'upload' and jsonb_typeof(jobs.source -> 'size_bytes') = 'number'"
    " then (jobs.source ->> 'size_bytes')::double precision end"
)
"""SQL for what is known of a job's size. Only we say how large an upload is."""


@dataclass(frozen=True)
class Kind:
    """Jobs of which one is likely to take what another took."""

    project_id: str
    lane: str
    model: str


@dataclass
class Pace:
    """Fading sums over settled jobs: how many, their seconds, and of those whose size was known seconds and bytes."""

    jobs: float = 0.0
    seconds: float = 0.0
    sized_seconds: float = 0.0
    sized_bytes: float = 0.0

    def observe(self, seconds: float, size_bytes: float | None) -> None:
        self.jobs = self.jobs * FADING + 1
        self.seconds = self.seconds * FADING + seconds
        if size_bytes:
            self.sized_seconds = self.sized_seconds * FADING + seconds
            self.sized_bytes = self.sized_bytes * FADING + size_bytes

    def expected(self, size_bytes: float | None) -> float:
        if size_bytes and self.sized_bytes:
            return max(LEAST_SECONDS, size_bytes * self.sized_seconds / self.sized_bytes)
        return max(LEAST_SECONDS, self.seconds / self.jobs)


@dataclass
class Workload:
    """What was learned: of each kind of jobs, and for projects of which nothing is known of each lane and model."""

    paces: dict[Kind, Pace] = field(default_factory=dict)
    learned_until: datetime | None = None

    def observe(self, kind: Kind, seconds: float, size_bytes: float | None = None) -> None:
        for known in (kind, _anybody(kind)):
            self.paces.setdefault(known, Pace()).observe(seconds, size_bytes)

    def expected(self, kind: Kind, size_bytes: float | None = None) -> float:
        """Seconds of a worker, more than none."""
        pace = self.paces.get(kind) or self.paces.get(_anybody(kind))
        return UNKNOWN_SECONDS if pace is None else pace.expected(size_bytes)


def _anybody(kind: Kind) -> Kind:
    return Kind("", kind.lane, kind.model)


_SETTLED = text(
    "select attempts.finished_at, jobs.project_id, jobs.lane, jobs.model,"  # noqa: S608  a constant of ours is put in
    " extract(epoch from attempts.finished_at - attempts.started_at)::double precision as seconds,"
    f" {SIZE_BYTES} as size_bytes"
    " from attempts join jobs on jobs.id = attempts.job_id"
    " where attempts.finished_at > coalesce(:since, now() - interval '1 hour')"
    " and attempts.ended not in ('released', 'canceled')"
    " order by attempts.finished_at desc limit :limit"
)


def learn(session: Session, workload: Workload) -> int:
    """Take in the attempts that ended since the last time, at first those of the last hour, the last thousand at most;
    how many that were. Those that failed or lost their worker held one as well; those that were broken off on purpose
    say nothing."""
    settled = session.execute(_SETTLED, {"since": workload.learned_until, "limit": LEARNED_AT_ONCE}).all()
    for row in reversed(settled):
        workload.observe(Kind(row.project_id, row.lane, row.model), row.seconds, row.size_bytes)
    if settled:
        workload.learned_until = settled[0].finished_at
    return len(settled)
