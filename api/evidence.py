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
from api.evidence_rows import get_result, get_track, list_tracks, read_slice, require_frames, track_spans
from api.frame_slices import Slice, Span, next_slices
from api.negotiation import JSON, LIST_FORMS, choose
from api.pages import clamp_limit, link_header, page
from api.schemas.evidence import FramePage, FrameQuery, Result, Track, TrackList, TrackSummary
from styleflow.errors import Erased, SourceNotFound
from styleflow.jobs import queries
from styleflow.tables import ResultRow

MAX_FRAMES = 1000
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}

TRACK_COLUMNS = tuple(TrackSummary.model_fields)
FRAME_COLUMNS = (
    *("track_id", "frame_index", "t_ms", "left", "top", "right", "bottom"),
    *("detection_confidence", "score", "flow_coarse", "flow_middle", "flow_fine", "attention"),
)

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])
ERRORS = (*WITH_KEY, "not_found", "erased", "result_not_ready")


def require_result(session: Session, project_id: str, job_id: str) -> ResultRow:
    """Raises NotFound, Erased and ResultNotReady."""
    return get_result(session, queries.get_job(session, project_id, job_id))


@router.get(
    "/result",
    operation_id="getResult",
    summary="Read the answer about the video",
    response_model=Result,
    responses={**problems(*ERRORS), 304: {"description": "You have it already; it never changes."}},
)
def read_result(
    job_id: str,
    principal: JobsReader,
    services: ServicesDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A result never changes once it is there, so it may be kept."""
    with services.database.transaction() as session:
        row = require_result(session, principal.project_id, job_id)
    headers = {**IMMUTABLE, "ETag": f'"{job_id}.result.{row.token}"'}
    if shapes.etag_matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return ok(shapes.result(job_id, row.report), headers)


@router.get(
    "/tracks",
    operation_id="listTracks",
    summary="List the faces that were followed",
    response_model=TrackList,
    responses={**problems(*ERRORS, "not_acceptable"), 200: {"content": row_streams.FORMS}},
)
def read_tracks(
    job_id: str,
    principal: EvidenceReader,
    services: ServicesDep,
    accept: Annotated[str | None, row_streams.ACCEPT] = None,
) -> Response:
    """Each with its clips (not in CSV) and, where the weights are calibrated, their scores."""
    form = choose(accept, LIST_FORMS)
    with services.database.transaction() as session:
        result = require_result(session, principal.project_id, job_id)
        summaries = list_tracks(result)
    tracks = [shapes.track(job_id, summary) for summary in summaries]
    if form == JSON:
        return ok(TrackList(data=tracks), {**IMMUTABLE, **row_streams.VARY})
    return row_streams.whole(form, [map(as_json, tracks)], TRACK_COLUMNS, _track_cells, IMMUTABLE)


def _track_cells(row: Mapping[str, Any]) -> list[Any]:
    return [row[name] for name in TRACK_COLUMNS]


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
        summary = get_track(require_result(session, principal.project_id, job_id), track_id)
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
        result = require_result(session, principal.project_id, job_id)
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
        result = require_result(session, project_id, job_id)
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
        row = require_result(session, principal.project_id, job_id)
        key = require_frames(session, row)
    headers = {**IMMUTABLE, "ETag": f'"{job_id}.report.{row.token}"'}
    chunks = _opened(services, key)
    if chunks is None:
        raise Erased("The whole report is no longer there; its summary is at /result.")
    return StreamingResponse(chunks, media_type="application/json", headers=headers)


def _opened(services: Services, key: str) -> Iterator[bytes] | None:
    """The object's chunks, the first one read already, so that a missing object is known before the answer starts."""

    def read() -> Iterator[bytes]:
        with services.bucket.open(key) as chunks:
            yield from chunks

    reading = read()
    try:
        first = next(reading, b"")
    except SourceNotFound:
        return None

    def whole() -> Iterator[bytes]:
        yield first
        yield from reading

    return whole()
