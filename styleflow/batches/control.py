"""What its owner can do with a batch: pause, resume, cancel, and try again what failed.

Each is a word written into the row, however large the batch is; the light worker acts on it.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from styleflow.batch_tables import BatchRow
from styleflow.batches.queries import counts, get_batch
from styleflow.batches.state import FEEDING, TERMINAL, BatchState, going_on
from styleflow.errors import NotRetryable
from styleflow.jobs.state import JobState
from styleflow.jobs.transitions import clock


def pause(session: Session, project_id: str, batch_id: str) -> BatchRow:
    """Submit no further jobs of it; those that are queued or running go on. Raises NotFound, NotRetryable."""
    batch = get_batch(session, project_id, batch_id, lock=True)
    if batch.state not in FEEDING | {BatchState.PAUSED}:
        raise NotRetryable("Only a batch that is going on can be paused.")
    batch.state = BatchState.PAUSED
    return batch


def resume(session: Session, project_id: str, batch_id: str) -> BatchRow:
    """Go on with a paused batch. Raises NotFound, NotRetryable."""
    batch = get_batch(session, project_id, batch_id, lock=True)
    if batch.state not in FEEDING | {BatchState.PAUSED}:
        raise NotRetryable("Only a paused batch can be resumed.")
    batch.state = going_on(expanded=batch.expanded_at is not None)
    return batch


def cancel(session: Session, project_id: str, batch_id: str) -> BatchRow:
    """What waits is canceled soon, what runs at its next clip; a finished batch is left as it is. Raises NotFound."""
    batch = get_batch(session, project_id, batch_id, lock=True)
    if batch.state not in TERMINAL:
        batch.state = BatchState.CANCELING
    return batch


def retry_failed(session: Session, project_id: str, batch_id: str) -> BatchRow:
    """Items that failed or expired until now become new jobs, under the same cap. Raises NotFound, NotRetryable."""
    batch = get_batch(session, project_id, batch_id, lock=True)
    if batch.state in (BatchState.CANCELING, BatchState.CANCELED):
        raise NotRetryable("What was canceled is not tried again.")
    known = counts(session, batch_id)
    if not known[JobState.FAILED] + known[JobState.EXPIRED]:
        raise NotRetryable("No job of this batch has failed.")
    batch.retry_requested_at = clock(session)
    if batch.state in TERMINAL:
        batch.state = BatchState.RUNNING
        batch.finished_at = None
    return batch
