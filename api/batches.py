"""`/v1/batches`: many videos under one order. Nothing here takes longer for a million items than for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy.orm import Session

from api import batch_shapes
from api.answers import Answer, Once, as_json, ok
from api.auth import BatchesWriter, JobsReader
from api.batch_orders import new_batch
from api.dependencies import JSON_ONLY, IdempotencyKey, RequestId, RequiredIdempotencyKey, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.batches import (
    BATCH_EXAMPLE,
    CREATE_EXAMPLES,
    ERRORS_EXAMPLE,
    Batch,
    BatchFilters,
    BatchPage,
    CreateBatch,
    ItemFilters,
    ItemPage,
)
from styleflow.batch_tables import BatchRow
from styleflow.batches import control, queries
from styleflow.jobs.batch_counts import counts_of, spent_seconds_of
from styleflow.quotas import accept_batch

router = APIRouter(prefix="/v1/batches", tags=["batches"], dependencies=[JSON_ONLY])

ERRORS_AT_ONCE = 1000
_EXAMPLE: dict[str, Any] = {
    "content": {"application/json": {"examples": {"batch": {"summary": "A batch", "value": BATCH_EXAMPLE}}}}
}
_LOCATION = {"description": "Where to follow the batch.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds until it is worth asking.", "schema": {"type": "integer"}}
_ORDERED: dict[int | str, dict[str, Any]] = {
    **problems(*WITH_KEY, *IDEMPOTENT, "not_found", "erased", "not_retryable"),
    202: _EXAMPLE,
}
Order = Callable[[Session, str, str], BatchRow]


@router.post(
    "",
    operation_id="createBatch",
    summary="Submit many videos",
    status_code=202,
    response_model=Batch,
    responses={
        **problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "source_not_allowed", "unknown_model", "erased"),
        202: {**_EXAMPLE, "headers": {"Location": _LOCATION, "Retry-After": _RETRY_AFTER}},
    },
)
def create_batch(
    body: Annotated[CreateBatch, Body(openapi_examples=CREATE_EXAMPLES)],
    principal: BatchesWriter,
    services: ServicesDep,
    request_id: RequestId,
    key: RequiredIdempotencyKey,
) -> Response:
    """The Idempotency-Key is required, so that a repetition does not submit everything twice. The list is read
    afterwards: what is wrong with one of its lines is told by the counts and by `/errors`, and keeps no other line from
    being judged.
    """
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(principal.project_id, "POST /v1/batches", key, content, services.settings.idempotency_hours)
    with services.database.transaction() as session:
        answer = once.answer(
            session,
            lambda: _accepted(
                session,
                _opened(
                    services,
                    session,
                    queries.create(session, new_batch(services, session, principal.project_id, body, request_id)),
                ),
            ),
        )
    return answer.response()


def _opened(services: Services, session: Session, row: BatchRow) -> BatchRow:
    """Raises QuotaExceeded."""
    accept_batch(session, row.project_id, services.quotas)
    return row


def _accepted(session: Session, row: BatchRow) -> Answer:
    headers = {"Location": f"/v1/batches/{row.id}", "Retry-After": "5"}
    return Answer(202, as_json(_shown(session, [row])[0]), headers)


def _shown(session: Session, rows: list[BatchRow]) -> list[Batch]:
    ids = [row.id for row in rows]
    counts, spent = counts_of(session, ids), spent_seconds_of(session, ids)
    now = datetime.now(UTC)
    return [batch_shapes.batch(row, counts[row.id], spent[row.id], now) for row in rows]


@router.get(
    "",
    operation_id="listBatches",
    summary="List batches, newest first",
    response_model=BatchPage,
    responses=problems(*WITH_KEY, "cursor_mismatch"),
)
def list_batches(
    request: Request, filters: Annotated[BatchFilters, Query()], principal: JobsReader, services: ServicesDep
) -> Response:
    """Pages are stable: what is submitted while you page appears on none of the later ones."""
    now = datetime.now(UTC).timestamp()
    query = {"list": "batches", "of": principal.project_id, "state": filters.state}
    after = None
    if filters.cursor is not None:
        created, last = services.cursors.open(filters.cursor, query, now)
        after = (datetime.fromisoformat(created), str(last))
    limit = clamp_limit(filters.limit)
    with services.database.transaction() as session:
        rows = queries.list_batches(session, principal.project_id, filters.state, limit + 1, after)
        shown = _shown(session, rows[:limit])
    cursor = None
    if len(rows) > limit:
        last_row = rows[limit - 1]
        cursor = services.cursors.seal([last_row.created_at.isoformat(), last_row.id], query, now)
    body = BatchPage.model_construct(**page(shown, cursor))
    return ok(body, link_header("/v1/batches", request.query_params.multi_items(), cursor))


@router.get(
    "/{batch_id}",
    operation_id="getBatch",
    summary="Follow one batch",
    response_model=Batch,
    responses={**problems(*WITH_KEY, "not_found"), 200: _EXAMPLE},
)
def get_batch(batch_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """The counts are exact at the moment of the answer."""
    with services.database.transaction() as session:
        row = queries.get_batch(session, principal.project_id, batch_id)
        body = _shown(session, [row])[0]
    return ok(body)


@router.get(
    "/{batch_id}/items",
    operation_id="listBatchItems",
    summary="List the items of a batch",
    response_model=ItemPage,
    responses=problems(*WITH_KEY, "not_found", "cursor_mismatch"),
)
def list_items(
    request: Request,
    batch_id: str,
    filters: Annotated[ItemFilters, Query()],
    principal: JobsReader,
    services: ServicesDep,
) -> Response:
    """In order of position. With `state`, those that stand there now: an item that moves may be met twice or missed."""
    now = datetime.now(UTC).timestamp()
    query = {"list": "items", "of": batch_id, "state": filters.state}
    after = 0 if filters.cursor is None else int(services.cursors.open(filters.cursor, query, now)[0])
    limit = clamp_limit(filters.limit)
    with services.database.transaction() as session:
        queries.get_batch(session, principal.project_id, batch_id)
        items = queries.list_items(session, batch_id, filters.state, limit + 1, after)
    cursor = services.cursors.seal([items[limit - 1].position], query, now) if len(items) > limit else None
    body = ItemPage.model_construct(**page([batch_shapes.item(found) for found in items[:limit]], cursor))
    path = f"/v1/batches/{batch_id}/items"
    return ok(body, link_header(path, request.query_params.multi_items(), cursor))


@router.get(
    "/{batch_id}/errors",
    operation_id="listBatchErrors",
    summary="List the lines that are wrong and the jobs that failed",
    response_class=StreamingResponse,
    responses={
        **problems(*WITH_KEY, "not_found"),
        200: {
            "description": "JSON Lines in order of position: line, state, code, message, source, client_ref, job_id.",
            "content": {
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "examples": {"errors": {"summary": "A line that is not JSON", "value": ERRORS_EXAMPLE}},
                }
            },
        },
    },
)
def list_errors(batch_id: str, principal: JobsReader, services: ServicesDep) -> Response:
    """All of them, as they stand while this is being read; in a form in which they can be mended and submitted anew."""
    with services.database.transaction() as session:
        queries.get_batch(session, principal.project_id, batch_id)
    return StreamingResponse(_error_lines(services, batch_id), media_type="application/x-ndjson")


def _error_lines(services: Services, batch_id: str) -> Iterator[bytes]:
    """Some at a time, so that a slow reader holds no transaction and a long list no memory."""
    after = 0
    while True:
        with services.database.transaction() as session:
            found = queries.list_errors(session, batch_id, ERRORS_AT_ONCE, after)
        if not found:
            return
        yield b"".join(batch_shapes.item_error(item).model_dump_json().encode() + b"\n" for item in found)
        after = found[-1].position


def _ordered(services: Services, project_id: str, verb: str, batch_id: str, key: str | None, order: Order) -> Response:
    once = Once(
        project_id, f"POST /v1/batches/{{batch_id}}:{verb}", key, [batch_id], services.settings.idempotency_hours
    )
    with services.database.transaction() as session:

        def carry_out() -> Answer:
            row = order(session, project_id, batch_id)
            session.flush()
            return Answer(202, as_json(_shown(session, [row])[0]))

        return once.answer(session, carry_out).response()


@router.post(
    "/{batch_id}:pause",
    operation_id="pauseBatch",
    summary="Submit no further jobs of a batch",
    status_code=202,
    response_model=Batch,
    responses=_ORDERED,
)
def pause_batch(batch_id: str, principal: BatchesWriter, services: ServicesDep, key: IdempotencyKey) -> Response:
    """Jobs that are queued or running go on; the list goes on being read."""
    return _ordered(services, principal.project_id, "pause", batch_id, key, control.pause)


@router.post(
    "/{batch_id}:resume",
    operation_id="resumeBatch",
    summary="Go on with a paused batch",
    status_code=202,
    response_model=Batch,
    responses=_ORDERED,
)
def resume_batch(batch_id: str, principal: BatchesWriter, services: ServicesDep, key: IdempotencyKey) -> Response:
    """One that is going on is left as it is."""
    return _ordered(services, principal.project_id, "resume", batch_id, key, control.resume)


@router.post(
    "/{batch_id}:cancel",
    operation_id="cancelBatch",
    summary="Cancel what is left of a batch",
    status_code=202,
    response_model=Batch,
    responses={**problems(*WITH_KEY, *IDEMPOTENT, "not_found", "erased"), 202: _EXAMPLE},
)
def cancel_batch(batch_id: str, principal: BatchesWriter, services: ServicesDep, key: IdempotencyKey) -> Response:
    """What waits is canceled soon, what runs at its next clip; results that there are stay. A finished batch is left
    as it is.
    """
    return _ordered(services, principal.project_id, "cancel", batch_id, key, control.cancel)


@router.post(
    "/{batch_id}:retry-failed",
    operation_id="retryFailedOfBatch",
    summary="Try again what failed in a batch",
    status_code=202,
    response_model=Batch,
    responses=_ORDERED,
)
def retry_failed(batch_id: str, principal: BatchesWriter, services: ServicesDep, key: IdempotencyKey) -> Response:
    """Items whose job failed or expired until now become new jobs, which name the old ones as `parent_job_id`. A
    completed batch is running again.
    """

    def again(session: Session, project_id: str, batch_id: str) -> BatchRow:
        return _opened(services, session, control.retry_failed(session, project_id, batch_id))

    return _ordered(services, principal.project_id, "retry-failed", batch_id, key, again)
