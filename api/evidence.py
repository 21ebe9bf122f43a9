"""A job's result and what backs it: tracks, frames, the whole report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from api import row_streams, shapes
from api.answers import as_json, ok
from api.auth import EvidenceReader, JobsReader
from api.dependencies import Services, ServicesDep
from api.documented import WITH_KEY, problems
from api.evidence_rows import count_tracks, get_result, get_track, read_slice, read_tracks, require_frames, track_spans
from api.frame_slices import Slice, Span, next_slices
from api.negotiation import JSON, LIST_FORMS, choose
from api.object_streams import opened
from api.pages import clamp_limit, link_header, page
from api.schemas.evidence import FramePage, FrameQuery, Result, Track, TrackPage, TrackQuery
from styleflow.errors import Erased
from styleflow.exports.columns import COLUMNS
from styleflow.exports.state import Rows
from styleflow.jobs import queries
from styleflow.tables import ResultRow

MAX_FRAMES = 1000
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}

TRACKS_AT_ONCE = 16
"""How many tracks are read at a time for a whole list: with 512 clips each they are a megabyte."""
TRACK_COLUMNS = COLUMNS[Rows.TRACKS][2:]
FRAME_COLUMNS = COLUMNS[Rows.FRAMES][1:]
"""As in exports, without what all rows of one job have in common."""

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])
ERRORS = (*WITH_KEY, "not_found", "erased", "result_not_ready")


def require_result(session: Session, project_id: str, job_id: str, *, report: bool = True) -> ResultRow:
    """Raises NotFound, Erased and ResultNotReady."""
    return get_result(session, queries.get_job(session, project_id, job_id), report=report)


@router.get(
    "/result",
    operation_id="getResult",
    summary="Read the answer about the video",
    response_model=Result,
    responses={**problems(*ERRORS), 304: {"description": "You have it already."}},
)
def read_result(
    job_id: str,
    principal: JobsReader,
    services: ServicesDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """What was found never changes. The words for it do where a policy is put on stored results: ask with the ETag."""
    with services.database.transaction() as session:
        job = queries.get_job(session, principal.project_id, job_id)
        row = get_result(session, job)
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{job_id}.result.{row.token}.{job.row_version}"'}
    if shapes.etag_matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return ok(shapes.result(job_id, shapes.worded(row.report, job)), headers)


@router.get(
    "/tracks",
    operation_id="listTracks",
    summary="Page through the faces that were followed",
    response_model=TrackPage,
    responses={**problems(*ERRORS, "cursor_mismatch", "not_acceptable"), 200: {"content": row_streams.FORMS}},
)
def list_tracks(
    request: Request,
    job_id: str,
    query: Annotated[TrackQuery, Query()],
    principal: EvidenceReader,
    services: ServicesDep,
    accept: Annotated[str | None, row_streams.ACCEPT] = None,
) -> Response:
    """Each with its clips (not in CSV and Parquet) and, where the weights are calibrated, their scores."""
    form = choose(accept, LIST_FORMS)
    if form == JSON:
        return _track_page(request, job_id, query, principal.project_id, services)
    row_streams.refuse_pages(query.model_fields_set)
    with services.database.transaction() as session:
        require_result(session, principal.project_id, job_id, report=False)
        count = count_tracks(session, job_id)
    return row_streams.whole(form, _all_tracks(services, job_id, count), TRACK_COLUMNS, _track_cells, IMMUTABLE)


def _track_page(request: Request, job_id: str, query: TrackQuery, project_id: str, services: Services) -> Response:
    now = datetime.now(UTC).timestamp()
    bound = {"list": "tracks", "of": job_id}
    first = 0 if query.cursor is None else int(services.cursors.open(query.cursor, bound, now)[0])
    limit = clamp_limit(query.limit)
    with services.database.transaction() as session:
        require_result(session, project_id, job_id, report=False)
        found = read_tracks(session, job_id, first, limit + 1)
    cursor = services.cursors.seal([found[limit][0]], bound, now) if len(found) > limit else None
    links = link_header(request.url.path, request.query_params.multi_items(), cursor)
    body = page([as_json(shapes.track(job_id, summary)) for _, summary in found[:limit]], cursor)
    return JSONResponse(body, headers={**IMMUTABLE, **row_streams.VARY, **links})


def _all_tracks(services: Services, job_id: str, count: int) -> Iterator[list[dict[str, Any]]]:
    """Piece by piece, each in a transaction of its own. Raises Erased when some went since the query began."""
    for summaries in track_pieces(services, job_id, count):
        yield [as_json(shapes.track(job_id, summary)) for summary in summaries]


def track_pieces(
    services: Services, job_id: str, count: int, track_id: str | None = None
) -> Iterator[list[Mapping[str, Any]]]:
    """The summaries of `count` tracks, some at a time. Raises Erased when there are fewer: part of them must not look
    like all."""
    first, seen = 0, 0
    while seen < count:
        with services.database.transaction() as session:
            found = read_tracks(session, job_id, first, TRACKS_AT_ONCE, track_id)
        if not found:
            raise Erased("The tracks were deleted while they were read.")
        yield [summary for _, summary in found]
        first, seen = found[-1][0] + 1, seen + len(found)


def _track_cells(row: Mapping[str, Any]) -> list[Any]:
    return [row[column.name] for column in TRACK_COLUMNS]


@router.get(
    "/tracks/{track_id}",
    operation_id="getTrack",
    summary="Read one face",
    response_model=Track,
    responses=problems(*ERRORS),
)
def read_track(job_id: str, track_id: str, principal: EvidenceReader, services: ServicesDep) -> Response:
    """With its clips."""
    with services.database.transaction() as session:
        require_result(session, principal.project_id, job_id, report=False)
        summary = get_track(session, job_id, track_id)
    return ok(shapes.track(job_id, summary), IMMUTABLE)


@router.get(
    "/frames",
    operation_id="listFrames",
    summary="Page through the evidence frame by frame",
    response_model=FramePage,
    responses={**problems(*ERRORS, "cursor_mismatch", "not_acceptable"), 200: {"content": row_streams.FORMS}},
)
def read_frames(
    request: Request,
    job_id: str,
    query: Annotated[FrameQuery, Query()],
    principal: EvidenceReader,
    services: ServicesDep,
    accept: Annotated[str | None, row_streams.ACCEPT] = None,
) -> Response:
    """Box, score, style flow per level and temporal attention of each face in each frame, track by track."""
    form = choose(accept, LIST_FORMS)
    if form == JSON:
        return _frame_page(request, job_id, query, principal.project_id, services)
    row_streams.refuse_pages(query.model_fields_set)
    with services.database.transaction() as session:
        result = require_result(session, principal.project_id, job_id, report=False)
        spans = track_spans(session, result, query.track_id, query.from_ms, query.to_ms)
    return row_streams.whole(form, _all_frames(services, job_id, spans), FRAME_COLUMNS, _frame_cells, IMMUTABLE)


def _frame_page(request: Request, job_id: str, query: FrameQuery, project_id: str, services: Services) -> Response:
    now = datetime.now(UTC).timestamp()
    bound = {**query.model_dump(mode="json", exclude={"limit", "cursor"}), "list": "frames", "of": job_id}
    start = (0, 0)
    if query.cursor is not None:
        position, offset = services.cursors.open(query.cursor, bound, now)
        start = (int(position), int(offset))
    with services.database.transaction() as session:
        result = require_result(session, project_id, job_id, report=False)
        spans = track_spans(session, result, query.track_id, query.from_ms, query.to_ms)
        slices, following = next_slices(spans, start, clamp_limit(query.limit, MAX_FRAMES))
        rows = [row for part in slices for row in _rows(session, job_id, part)]
    cursor = None if following is None else services.cursors.seal(following, bound, now)
    links = link_header(request.url.path, request.query_params.multi_items(), cursor)
    return JSONResponse(page(rows, cursor), headers={**IMMUTABLE, **row_streams.VARY, **links})


def _all_frames(services: Services, job_id: str, spans: Sequence[Span]) -> Iterator[list[dict[str, Any]]]:
    """Piece by piece, each in a transaction of its own: a reader that takes its time holds no connection."""
    start: tuple[int, int] | None = (0, 0)
    while start is not None:
        slices, start = next_slices(spans, start, MAX_FRAMES)
        with services.database.transaction() as session:
            piece = [row for part in slices for row in _rows(session, job_id, part)]
        yield piece


def _rows(session: Session, job_id: str, part: Slice) -> list[dict[str, Any]]:
    """Raises Erased when the frames went since the query began: part of them must not look like all."""
    rows = shapes.frames(part.track_id, read_slice(session, job_id, part))
    if len(rows) != part.end - part.first:
        raise Erased("The frame evidence was deleted while it was read.")
    return rows


def _frame_cells(row: Mapping[str, Any]) -> list[Any]:
    plain = [row[name] for name in ("track_id", "frame_index", "t_ms")]
    judged = [row["detection_confidence"], row["score"], *row["flow"].values(), row["attention"]]
    return [*plain, *row["box"], *judged]


@router.get(
    "/report",
    operation_id="getReport",
    summary="Read the whole report, frames included",
    response_class=JSONResponse,
    responses=problems(*ERRORS),
)
def read_report(job_id: str, principal: EvidenceReader, services: ServicesDep) -> Response:
    """The report exactly as the worker wrote it; times are seconds."""
    with services.database.transaction() as session:
        row = require_result(session, principal.project_id, job_id, report=False)
        key = require_frames(session, row)
    headers = {**IMMUTABLE, "ETag": f'"{job_id}.report.{row.token}"'}
    chunks = opened(services.bucket, key)
    if chunks is None:
        raise Erased("The whole report is no longer there; its summary is at /result.")
    return StreamingResponse(chunks, media_type="application/json", headers=headers)
