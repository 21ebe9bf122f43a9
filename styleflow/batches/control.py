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
from styleflow.webhooks.announce import BATCH_PROGRESS, announce_batch


def pause(session: Session, project_id: str, batch_id: str) -> BatchRow:
    """Submit no further jobs of it; those that are queued or running go on. Raises NotFound, NotRetryable."""
    batch = get_batch(session, project_id, batch_id, lock=True)
    if batch.state not in FEEDING | {BatchState.PAUSED}:
        raise NotRetryable("Only a batch that is going on can be paused.")
    return _moved(session, batch, BatchState.PAUSED)


def resume(session: Session, project_id: str, batch_id: str) -> BatchRow:
    """Go on with a paused batch. Raises NotFound, NotRetryable."""
    batch = get_batch(session, project_id, batch_id, lock=True)
    if batch.state not in FEEDING | {BatchState.PAUSED}:
        raise NotRetryable("Only a paused batch can be resumed.")
    return _moved(session, batch, going_on(expanded=batch.expanded_at is not None))


def cancel(session: Session, project_id: str, batch_id: str) -> BatchRow:
    """What waits is canceled soon, what runs at its next clip; a finished batch is left as it is. Raises NotFound."""
    batch = get_batch(session, project_id, batch_id, lock=True)
    return batch if batch.state in TERMINAL else _moved(session, batch, BatchState.CANCELING)


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
        batch.finished_at = None
        return _moved(session, batch, BatchState.RUNNING)
    return batch


def _moved(session: Session, batch: BatchRow, state: BatchState) -> BatchRow:
    """The locked batch in that state, which is told where it is another."""
    if batch.state != state:
        batch.state = state
        announce_batch(session, batch, counts(session, batch.id), BATCH_PROGRESS)
    return batch
