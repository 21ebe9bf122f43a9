"""One job: claim, fetch, analyze, store, settle.

Two short transactions and the heartbeats; none is open while pixels move.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalFailure,
    JobError,
    LeaseLost,
    ModelUnavailable,
    PackError,
    Released,
    SourceNotFound,
    StorageUnavailable,
    StyleFlowError,
    UnknownModel,
)
from styleflow.jobs import dispatch, progress
from styleflow.jobs.queries import Claim, claim
from styleflow.jobs.reuse import Dedupe, content_key, find_earlier, settle_from
from styleflow.report import FaceCrop, Pipeline, Thresholds, VideoReport
from styleflow.storage.bucket import Bucket
from styleflow.telemetry import ATTEMPTS_ENDED, FENCED_COMMITS
from styleflow.verdicts import under
from worker import evidence
from worker.fetch import FetchedVideo, Sources, fetch_watched
from worker.lease import Lease

log = structlog.get_logger(__name__)
Written = TypeVar("Written")
KeepCrop = Callable[[FaceCrop, bytes], None]
"""Takes a JPEG of an aligned face, and what it shows."""


class Analyzer(Protocol):
    """What turns a file into a report. The detector in production; tests and drills put a stub in its place."""

    @property
    def models(self) -> tuple[str, ...]:
        """The `name@version` of every pack that is loaded."""
        ...

    @property
    def device(self) -> str: ...

    def pipeline(self, model: str) -> Pipeline:
        """What would judge a job of that model, as its report will say. Raises ModelUnavailable."""
        ...

    def analyze(
        self,
        video: FetchedVideo,
        model: str,
        options: Mapping[str, Any],
        *,
        report_progress: Callable[[dict[str, Any]], None],
        checkpoint: Callable[[], None],
        keep_crop: KeepCrop | None = None,
    ) -> VideoReport:
        """`keep_crop` is given each picture that the report names; without it there are none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Everything that carrying out a job needs."""

    database: Database
    bucket: Bucket
    sources: Sources
    analyzer: Analyzer
    worker: str
    scratch: Path
    """Folder for the videos of this process."""
    lease_seconds: float
    heartbeat_seconds: float
    max_attempt_seconds: float
    stopping: threading.Event
    crops: bool = True
    """Whether pictures of faces are made and kept, where a job keeps any."""

    def run(self, *, job_id: str | None = None, lanes: tuple[str, ...] = ()) -> bool:
        """Carry out the named job, or any due one of the lanes. False when there was nothing to claim."""
        with self.database.transaction() as session:
            held = claim(session, worker=self.worker, lease_seconds=self.lease_seconds, job_id=job_id, lanes=lanes)
            if job_id is not None:  # one nudge fewer waits in the broker
                dispatch.wake(session)
        if held is None:
            return False
        structlog.contextvars.bind_contextvars(job_id=held.job_id, attempt=held.attempt)
        try:
            self._carry_out(held)
        finally:
            structlog.contextvars.clear_contextvars()
        return True

    def _carry_out(self, held: Claim) -> None:
        with Lease(
            self.database,
            held,
            lease_seconds=self.lease_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
            max_seconds=self.max_attempt_seconds,
            stopping=self.stopping,
        ) as lease:
            ended = self._attempt(held, lease)
        ATTEMPTS_ENDED.labels(ended=ended).inc()
        log.info("attempt_ended", ended=ended)

    def _attempt(self, held: Claim, lease: Lease) -> str:
        """How the attempt ended; every way out of the work is settled here, once."""
        try:
            produced = self._produce(held, lease)
            if produced is not None:
                report, key = produced
                self._settle(lease, lambda session: progress.succeed(session, held.job_id, held.token, report, key))
        except LeaseLost:
            FENCED_COMMITS.inc()
            return "lost"
        except Cancelled:
            return self._settle_quietly(
                lease, "canceled", lambda session: progress.cancel(session, held.job_id, held.token)
            )
        except Released:
            return self._settle_quietly(
                lease, "released", lambda session: progress.release(session, held.job_id, held.token)
            )
        except Exception as error:
            failure = as_job_error(error)
            if self.stopping.is_set() and failure.retryable:
                return self._settle_quietly(
                    lease, "released", lambda session: progress.release(session, held.job_id, held.token)
                )
            log.warning("attempt_failed", code=failure.code, exc_info=not isinstance(error, JobError))
            return self._settle_quietly(
                lease, "failed", lambda session: progress.fail(session, held.job_id, held.token, failure)
            )
        return "succeeded"

    def _produce(self, held: Claim, lease: Lease) -> tuple[VideoReport, str | None] | None:
        """Fetch, analyze, store; None when an earlier result settled the job. The stored object's key holds the fencing
        token, so attempts never share one. With zero retention nothing is stored, and there is no key."""
        crops: dict[str, bytes] = {}

        def keep(crop: FaceCrop, jpeg: bytes) -> None:
            crops[crop.crop_id] = jpeg

        lease.check()
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            lease.report({"phase": "fetching"})
            started = time.monotonic()
            video = fetch_watched(held.source, self.sources, Path(folder), lease.check)
            fetch_ms = round((time.monotonic() - started) * 1000)
            if held.dedupe == Dedupe.REUSE and self._settled_from_earlier(held, lease, video):
                return None
            report = self.analyzer.analyze(
                video,
                held.model,
                held.options,
                report_progress=lease.report,
                checkpoint=lease.check,
                keep_crop=keep if self._keeps_crops(held) else None,
            )
        lease.check()
        if held.thresholds is not None:
            report = under(report, Thresholds(**held.thresholds))
        if held.zero_retention:
            return report, None
        return report, evidence.store(self.bucket, held, report, crops, fetch_ms, lease.check)

    def _keeps_crops(self, held: Claim) -> bool:
        return self.crops and evidence.wants_crops(held)

    def _settled_from_earlier(self, held: Claim, lease: Lease, video: FetchedVideo) -> bool:
        """Whether an earlier result was there to be used: then this job has it too, with objects of its own where it
        keeps any."""
        wanted = content_key(video.sha256, self.analyzer.pipeline(held.model), held.options, held.thresholds)
        with self.database.transaction() as session:
            earlier = find_earlier(session, held.project_id, wanted)
        if earlier is None:
            return False
        key: str | None = None
        crops: Sequence[Mapping[str, Any]] = ()
        try:
            if not held.zero_retention:
                scratch, pictured = video.path.parent, self._keeps_crops(held)
                key, crops = evidence.copy(self.bucket, earlier, held, scratch, lease.check, crops=pictured)
        except (SourceNotFound, StorageUnavailable) as error:  # the video is here: then it is judged
            log.warning("earlier_result_not_copied", code=error.code)
            return False
        return self._settle(lease, lambda session: settle_from(session, held.job_id, held.token, earlier, key, crops))

    def _settle(self, lease: Lease, write: Callable[[Session], Written]) -> Written:
        """One transaction; a database that is away for a moment is asked again, for the length of a lease at most.

        What the database refuses for good is raised at once: the attempt then fails instead of asking for ever.
        """
        give_up_at = time.monotonic() + self.lease_seconds
        while True:
            try:
                with self.database.transaction() as session:
                    return write(session)
            except (OperationalError, InterfaceError, PoolTimeout) as error:
                if lease.age() > self.lease_seconds or time.monotonic() > give_up_at:
                    raise LeaseLost("the database was away for longer than the lease") from error
                log.warning("settle_delayed", error=type(error).__name__)
                time.sleep(min(0.5, self.lease_seconds / 10))

    def _settle_quietly(self, lease: Lease, ended: str, write: Callable[[Session], object]) -> str:
        """Settle an attempt without a result; when the lease is gone meanwhile, whoever took over settles."""
        with suppress(LeaseLost):
            self._settle(lease, write)
            return ended
        FENCED_COMMITS.inc()
        return "lost"


def as_job_error(error: Exception) -> StyleFlowError:
    """What the job is told. A message of our own tree is for callers; of anything else only the kind is said."""
    match error:
        case JobError() | DeadlineExceeded():
            return error
        case PackError() | UnknownModel():
            return ModelUnavailable(str(error))
        case _:
            return InternalFailure(f"unexpected {type(error).__name__} while working on the video")
