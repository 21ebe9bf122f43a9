"""Calls of `/v1/jobs`: each a request and how its answer is read. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from styleflow.client.answers import Artifact, Attempt, Clip, Frame, Job, Record, Result, Segment, Track
from styleflow.client.calls import Call, given, keyed, nothing, part, reads, reads_list
from styleflow.client.failures import BadArgument
from styleflow.client.lists import Pages, Rows

MOST_WAIT_SECONDS = 60
"""Longest that the service holds a request."""


def create(
    source: Mapping[str, Any],
    *,
    model: str | None = None,
    lane: str | None = None,
    options: Mapping[str, Any] | None = None,
    client_ref: str | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    callback: Mapping[str, Any] | None = None,
    deadline: datetime | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Call[Job]:
    """Submit one video. `source` as `{"type": "url", "url": …}`, `"s3"` or `"upload"`.

    Without `idempotency_key` one is made, so that retries of this call submit once; give your own to be safe across
    calls. `more` is for members that this version does not know.
    """
    body = given(
        source=source, model=model, lane=lane, options=options, client_ref=client_ref, tags=tags, metadata=metadata,
        callback=callback, deadline=deadline, **more,
    )  # fmt: skip
    return Call(
        method="POST", path="/v1/jobs", body=body, headers=keyed(idempotency_key), repeatable=True, read=reads(Job)
    )


def get(job_id: str, *, wait_seconds: int = 0) -> Call[Job]:
    """One job as it stands, or when it settled within `wait_seconds` (at most 60), which the service waits for."""
    if not 0 <= wait_seconds <= MOST_WAIT_SECONDS:
        raise BadArgument(f"wait_seconds lies between 0 and {MOST_WAIT_SECONDS}")
    headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}", headers=headers, held=wait_seconds, read=reads(Job))


def list_(
    *,
    state: str | None = None,
    outcome: str | None = None,
    verdict: str | None = None,
    lane: str | None = None,
    batch_id: str | None = None,
    client_ref: str | None = None,
    tag: str | None = None,
    created_after: datetime | None = None,
    page_size: int | None = None,
) -> Pages[Job]:
    """Jobs, newest first: all of them, page by page as you go. `tag` is `key:value`."""
    filters = {"state": state, "outcome": outcome, "verdict": verdict, "lane": lane, "batch_id": batch_id}
    more = {"client_ref": client_ref, "tag": tag, "created_after": created_after, "limit": page_size}
    return Pages("/v1/jobs", Job, {**filters, **more})


def cancel(job_id: str) -> Call[Job]:
    """Ask it to stop. A finished one is left as it is."""
    return Call(method="POST", path=f"/v1/jobs/{part(job_id)}:cancel", repeatable=True, read=reads(Job))


def retry(job_id: str, *, idempotency_key: str | None = None) -> Call[Job]:
    """Try a failed job again, as a new job."""
    path = f"/v1/jobs/{part(job_id)}:retry"
    return Call(method="POST", path=path, headers=keyed(idempotency_key), repeatable=True, read=reads(Job))


def rerun(job_id: str, *, model: str | None = None, idempotency_key: str | None = None, **more: Any) -> Call[Job]:
    """Judge the same video again, as a new job, by another model."""
    path, body = f"/v1/jobs/{part(job_id)}:rerun", given(model=model, **more)
    return Call(method="POST", path=path, body=body, headers=keyed(idempotency_key), repeatable=True, read=reads(Job))


def delete(job_id: str) -> Call[None]:
    """Erase it and its evidence."""
    return Call(method="DELETE", path=f"/v1/jobs/{part(job_id)}", read=nothing)


def attempts(job_id: str) -> Call[list[Attempt]]:
    """Every claim by a worker, and how it ended."""
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}/attempts", read=reads_list(Attempt))


def result(job_id: str) -> Call[Result]:
    """The answer about the video. Raises Conflict `result_not_ready` while there is none."""
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}/result", read=reads(Result))


def tracks(job_id: str) -> Call[list[Track]]:
    """The faces that were followed, with their clips."""
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}/tracks", read=reads_list(Track))


def track(job_id: str, track_id: str) -> Call[Track]:
    """One face, with its clips."""
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}/tracks/{part(track_id)}", read=reads(Track))


def report(job_id: str) -> Call[Record]:
    """The whole report, frames included, in memory at once; `frames` gives them as they arrive."""
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}/report", read=reads(Record))


def segments(
    job_id: str,
    *,
    track_id: str | None = None,
    min_score: float | None = None,
    leave_score: float | None = None,
    min_ms: int | None = None,
    gap_ms: int | None = None,
) -> Call[list[Segment]]:
    """The stretches that look manipulated."""
    query = {
        "track_id": track_id, "min_score": min_score, "leave_score": leave_score, "min_ms": min_ms, "gap_ms": gap_ms,
    }  # fmt: skip
    path = f"/v1/jobs/{part(job_id)}/segments"
    return Call(method="GET", path=path, query=query, read=reads_list(Segment))


def frames(
    job_id: str, *, track_id: str | None = None, from_ms: int | None = None, to_ms: int | None = None
) -> Rows[Frame]:
    """Every face in every frame, as it arrives: never all of it in memory."""
    query = {"track_id": track_id, "from_ms": from_ms, "to_ms": to_ms}
    return Rows(f"/v1/jobs/{part(job_id)}/frames", Frame, query)


def clips(
    job_id: str, *, track_id: str | None = None, from_ms: int | None = None, to_ms: int | None = None
) -> Rows[Clip]:
    """Every clip that was judged, as it arrives."""
    query = {"track_id": track_id, "from_ms": from_ms, "to_ms": to_ms}
    return Rows(f"/v1/jobs/{part(job_id)}/clips", Clip, query)


def artifacts(job_id: str) -> Call[list[Artifact]]:
    """The files behind the result that are still kept: the whole report and pictures of faces."""
    return Call(method="GET", path=f"/v1/jobs/{part(job_id)}/artifacts", read=reads_list(Artifact))
