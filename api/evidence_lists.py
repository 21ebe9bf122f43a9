"""What is made of a result's evidence: its clips as one list, and the stretches that look manipulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from api import row_streams, shapes
from api.answers import ok
from api.auth import EvidenceReader
from api.dependencies import ServicesDep
from api.documented import problems
from api.evidence import ERRORS, IMMUTABLE, MAX_FRAMES, require_result
from api.evidence_rows import get_result, get_track, list_tracks, track_scores
from api.negotiation import JSON, LIST_FORMS, choose
from api.pages import clamp_limit, link_header, page
from api.schemas.evidence import ClipPage, ClipQuery, SegmentList, SegmentQuery
from api.segments import Rule, find_segments
from styleflow.errors import InvalidRequest
from styleflow.jobs import queries
from styleflow.report import Outcome
from styleflow.tables import ResultRow

LEAVE_BELOW = 0.1
"""How far below `min_score` a stretch may fall before it ends, when the caller does not say."""
CLIP_COLUMNS = ("track_id", "index", "start_ms", "end_ms", "first_frame", "last_frame", "logit", "probability")

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["evidence"])


@router.get(
    "/clips",
    operation_id="listClips",
    summary="Page through the clips that were judged",
    response_model=ClipPage,
    responses={
        **problems(*ERRORS, "cursor_mismatch", "not_acceptable"),
        200: {"content": row_streams.FORMS},
    },
)
def read_clips(
    request: Request,
    job_id: str,
    query: Annotated[ClipQuery, Query()],
    principal: EvidenceReader,
    services: ServicesDep,
    accept: Annotated[str | None, row_streams.ACCEPT] = None,
) -> Response:
    """Track by track, in order of time; with `from_ms` and `to_ms`, those that touch the interval."""
    form = choose(accept, LIST_FORMS)
    if form != JSON:
        row_streams.refuse_pages(query.model_fields_set)
    with services.database.transaction() as session:
        rows = _clips(require_result(session, principal.project_id, job_id), query)
    if form != JSON:
        return row_streams.whole(form, [rows], CLIP_COLUMNS, _clip_cells, IMMUTABLE)
    now = datetime.now(UTC).timestamp()
    bound = {**query.model_dump(mode="json", exclude={"limit", "cursor"}), "list": "clips", "of": job_id}
    start = 0 if query.cursor is None else int(services.cursors.open(query.cursor, bound, now)[0])
    end = start + clamp_limit(query.limit, MAX_FRAMES)
    cursor = services.cursors.seal([end], bound, now) if end < len(rows) else None
    links = link_header(request.url.path, request.query_params.multi_items(), cursor)
    return JSONResponse(page(rows[start:end], cursor), headers={**IMMUTABLE, **row_streams.VARY, **links})


def _clips(result: ResultRow, query: ClipQuery) -> list[dict[str, Any]]:
    """Raises NotFound for a track that the video does not have."""
    tracks = list_tracks(result) if query.track_id is None else [get_track(result, query.track_id)]
    rows = [row for summary in tracks for row in shapes.clips(summary)]
    return [
        row
        for row in rows
        if (query.from_ms is None or row["end_ms"] >= query.from_ms)
        and (query.to_ms is None or row["start_ms"] <= query.to_ms)
    ]


def _clip_cells(row: Mapping[str, Any]) -> list[Any]:
    return [row[name] for name in CLIP_COLUMNS]


@router.get(
    "/segments",
    operation_id="listSegments",
    summary="List the stretches of the video that look manipulated",
    response_model=SegmentList,
    responses=problems(*ERRORS),
)
def read_segments(
    job_id: str, query: Annotated[SegmentQuery, Query()], principal: EvidenceReader, services: ServicesDep
) -> Response:
    """From the scores of the frames, by a rule that the answer repeats. Empty where the outcome is not `scored`."""
    with services.database.transaction() as session:
        job = queries.get_job(session, principal.project_id, job_id)
        result = get_result(session, job)
        if query.track_id is not None:
            get_track(result, query.track_id)
        scored = result.report["outcome"] == Outcome.SCORED
        rule = _rule(query, shapes.worded(result.report, job)["thresholds"]) if scored else None
        columns = track_scores(session, result, query.track_id) if rule else iter(())
        data = [] if rule is None else list(_segments(columns, rule))
    return ok(
        SegmentList(job_id=job_id, rule=None if rule is None else vars(rule), data=data),
        {"Cache-Control": "private, no-cache"},
    )


def _rule(query: SegmentQuery, thresholds: Mapping[str, Any]) -> Rule:
    """What was not given comes from the policy's threshold for `suspicious`. Raises InvalidRequest."""
    enter = float(thresholds["suspicious"]) if query.min_score is None else query.min_score
    leave = max(0.0, enter - LEAVE_BELOW) if query.leave_score is None else query.leave_score
    if leave > enter:
        message = f"must be at most min_score, which is {enter:g}"
        entry = {"in": "query", "pointer": "/leave_score", "code": "value_error", "message": message}
        raise InvalidRequest(f"/leave_score: {message}", errors=[entry])
    return Rule(enter, leave, query.min_ms, query.gap_ms)


def _segments(tracks: Iterator[tuple[str, list[float], list[float | None]]], rule: Rule) -> Iterator[dict[str, Any]]:
    for track_id, seconds, scores in tracks:
        for segment in find_segments([shapes.milliseconds(second) for second in seconds], scores, rule):
            yield {"track_id": track_id, **vars(segment)}
