"""Rows become bodies: pure functions from what the tables hold to what callers read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from api.schemas import evidence, uploads, webhooks
from api.schemas import jobs as job_bodies
from api.upload_rows import part_plan
from styleflow.jobs.shown import ShownJob
from styleflow.jobs.state import TERMINAL, JobState
from styleflow.storage.bucket import PresignedPut
from styleflow.tables import AttemptRow, JobRow, UploadRow
from styleflow.webhook_tables import DeliveryAttemptRow, DeliveryRow, EventRow, ReplayRow, WebhookEndpointRow
from styleflow.webhooks.health import failing

RESULT_TRACKS = 16
_SOURCE_MEMBERS = frozenset(job_bodies.JobSource.model_fields)
_PROGRESS_OF_STATE = {JobState.QUEUED: ("queued", 0.0), JobState.SUCCEEDED: ("done", 1.0)}


def job(row: JobRow | ShownJob) -> job_bodies.Job:
    """Own columns only: nothing is looked up."""
    own = f"/v1/jobs/{row.id}"
    source = {name: value for name, value in row.source.items() if name in _SOURCE_MEMBERS}
    if row.source.get("type") == "upload":
        source.pop("key", None)
    return job_bodies.Job.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "outcome": row.outcome,
            "reason": row.reason,
            "verdict": row.verdict,
            "score": row.score,
            "probability": row.probability,
            "progress": progress(row),
            "source": source,
            "media": row.media,
            "model": row.model,
            "pipeline": row.pipeline,
            "options": row.options,
            "lane": row.lane,
            "attempt": row.attempt,
            "max_attempts": row.max_attempts,
            "cancel_requested": row.cancel_requested_at is not None,
            "error": row.error,
            "parent_job_id": row.parent_job_id,
            "policy": row.policy if row.policy_revision is None else f"{row.policy}@{row.policy_revision}",
            "dedupe": row.dedupe,
            "deduplicated_from": row.deduplicated_from,
            "batch_id": row.batch_id,
            "callback": {"endpoint_id": row.callback_endpoint_id} if row.callback_endpoint_id else None,
            "client_ref": row.client_ref,
            "tags": row.tags,
            "metadata": row.job_metadata,
            "deadline": row.deadline,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "expires_at": row.expires_at,
            "retention": job_retention(row),
            "links": {"self": own, "result": f"{own}/result", "attempts": f"{own}/attempts", "events": f"{own}/events"},
        }
    )


def job_retention(row: JobRow | ShownJob) -> dict[str, Any] | None:
    """What was agreed, when each class goes, and which have gone. None before it is known."""
    if row.retention is None:
        return None
    until = {
        "source": row.source_until,
        "crops": row.crops_until,
        "frames": row.frames_until,
        "results": row.expires_at,
    }
    return {**row.retention, "expires_at": until, "held_at": row.held_at, "all_but_the_answer_until": row.zero_at}


def progress(row: JobRow | ShownJob) -> dict[str, Any]:
    """What the worker last said, or what the state alone says."""
    state = JobState(row.state)
    phase, fraction = _PROGRESS_OF_STATE.get(state, (str(state), 0.0))
    said = row.progress if state is JobState.RUNNING or (state in TERMINAL and row.progress) else {}
    done = state is JobState.SUCCEEDED
    return {
        "phase": phase if state in TERMINAL else str(said.get("phase", phase)),
        "fraction": fraction if done else float(said.get("fraction", fraction)),
        "clips_done": int(said.get("clips_done") or 0),
        "clips_total": said.get("clips_total"),
    }


def attempt(row: AttemptRow) -> job_bodies.Attempt:
    return job_bodies.Attempt(
        number=row.number,
        worker=row.worker,
        started_at=row.started_at,
        finished_at=row.finished_at,
        ended=row.ended,
        error_code=row.error_code,
    )


def worded(report: Mapping[str, Any], row: JobRow) -> Mapping[str, Any]:
    """The stored report in the words of the job's policy, which may be newer than the report."""
    if row.policy_thresholds is None or row.verdict is None:
        return report
    return {**report, "verdict": row.verdict, "thresholds": row.policy_thresholds}


def etag(row: JobRow) -> str:
    """Strong: the version grows with every change that a caller can see."""
    return f'"{row.id}.{row.row_version}"'


def etag_matches(if_none_match: str | None, current: str) -> bool:
    """RFC 9110 `If-None-Match`: a list of tags, compared weakly, or `*`."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or current in tags


def retry_after(state: str, age_seconds: float) -> int | None:
    """Seconds until it is worth asking again: a quarter of what the job has waited already, 2 to 60; None when over."""
    if JobState(state) in TERMINAL:
        return None
    return max(2, min(60, math.ceil(age_seconds / 4)))


def upload(row: UploadRow, presigned: PresignedPut | None) -> uploads.Upload:
    plan = part_plan(row)
    return uploads.Upload.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "filename": row.filename,
            "content_type": row.content_type,
            "size_bytes": row.size_bytes,
            "sha256": row.sha256,
            "mode": "put" if plan is None else "multipart",
            "part_size": None if plan is None else plan.part_bytes,
            "part_count": None if plan is None else plan.count,
            "method": presigned.method if presigned else None,
            "url": presigned.url if presigned else None,
            "headers": dict(presigned.headers) if presigned else {},
            "created_at": row.created_at,
            "expires_at": row.expires_at,
        }
    )


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def result(job_id: str, report: Mapping[str, Any]) -> evidence.Result:
    """From the stored report, which has no frames and counts in seconds."""
    own = f"/v1/jobs/{job_id}"
    seen = report["coverage"]
    coverage = {
        **seen,
        "media_ms": None if seen["media_seconds"] is None else milliseconds(seen["media_seconds"]),
        "analysed_ms": milliseconds(seen["analysed_seconds"]),
    }
    return evidence.Result.model_validate(
        {
            **report,
            "job_id": job_id,
            "coverage": coverage,
            "tracks": [track_summary(track) for track in report["tracks"][:RESULT_TRACKS]],
            "crops": [crop_shown(crop) for crop in report.get("crops", ())],
            "links": {
                "job": own,
                "tracks": f"{own}/tracks",
                "clips": f"{own}/clips",
                "frames": f"{own}/frames",
                "segments": f"{own}/segments",
                "report": f"{own}/report",
                "artifacts": f"{own}/artifacts",
            },
        }
    )


def crop_shown(crop: Mapping[str, Any]) -> evidence.CropShown:
    """From its entry in the stored report."""
    return evidence.CropShown.model_validate(
        {**crop, "artifact_id": crop["crop_id"], "t_ms": milliseconds(crop["time_seconds"])}
    )


def track_summary(summary: Mapping[str, Any]) -> evidence.TrackSummary:
    return evidence.TrackSummary.model_validate(
        {
            **summary,
            "start_ms": milliseconds(summary["start_seconds"]),
            "end_ms": milliseconds(summary["end_seconds"]),
            "clip_count": len(summary["clips"]),
        }
    )


def track(job_id: str, summary: Mapping[str, Any]) -> evidence.Track:
    return evidence.Track.model_validate(
        {**track_summary(summary).model_dump(), "job_id": job_id, "clips": clips(summary)}
    )


def clips(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `/clips` from one track's summary. Bodies as ClipRow."""
    return [
        {
            "track_id": summary["track_id"],
            "index": clip["index"],
            "start_ms": milliseconds(clip["start_seconds"]),
            "end_ms": milliseconds(clip["end_seconds"]),
            "first_frame": clip["first_frame"],
            "last_frame": clip["last_frame"],
            "logit": clip["logit"],
            "probability": clip["probability"],
        }
        for clip in summary["clips"]
    ]


def frames(track_id: str, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows of `/frames` from columns of equal length (`box` has four values a frame). Bodies as FrameRow."""
    box = columns["box"]
    rest = zip(
        columns["frame_index"],
        columns["time_seconds"],
        columns["detection_confidence"],
        columns["score"],
        columns["flow_coarse"],
        columns["flow_middle"],
        columns["flow_fine"],
        columns["attention"],
        strict=True,
    )
    return [
        {
            "track_id": track_id,
            "frame_index": index,
            "t_ms": milliseconds(seconds),
            "box": [round(float(edge), 2) for edge in box[4 * number : 4 * number + 4]],
            "detection_confidence": confidence,
            "score": score,
            "flow": {"coarse": coarse, "middle": middle, "fine": fine},
            "attention": attention,
        }
        for number, (index, seconds, confidence, score, coarse, middle, fine, attention) in enumerate(rest)
    ]


def endpoint(row: WebhookEndpointRow, secret: str | None = None) -> webhooks.Endpoint:
    return webhooks.Endpoint(
        id=row.id,
        url=row.url,
        events=row.events,
        description=row.description,
        signature=row.signature,
        payload=row.payload,
        version=row.version,
        max_rps=row.max_rps,
        max_concurrency=row.max_concurrency,
        state=row.state,
        disabled_reason=row.disabled_reason,
        failing=failing(row),
        failing_since=row.failing_since,
        public_key=row.public_key,
        previous_public_key=row.previous_public_key,
        previous_secret_until=row.previous_secret_until,
        secret=secret,
        created_at=row.created_at,
    )


def delivery(
    row: DeliveryRow, event: EventRow, attempts: Sequence[DeliveryAttemptRow] | None = None
) -> webhooks.Delivery:
    return webhooks.Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=event.type,
        job_id=event.job_id,
        redelivery_of=row.redelivery_of,
        replay_id=row.replay_id,
        state=row.state,
        attempt=row.attempt,
        next_attempt_at=row.next_attempt_at if row.state == "pending" else None,
        created_at=row.created_at,
        finished_at=row.finished_at,
        attempts=None if attempts is None else [_delivery_attempt(made) for made in attempts],
    )


def _delivery_attempt(row: DeliveryAttemptRow) -> webhooks.DeliveryAttempt:
    return webhooks.DeliveryAttempt(
        number=row.number,
        started_at=row.started_at,
        latency_ms=row.latency_ms,
        status=row.status,
        error=row.error,
        response_excerpt=row.response_excerpt,
    )


def event(row: EventRow) -> webhooks.Event:
    return webhooks.Event(
        id=row.id,
        type=row.type,
        job_id=row.job_id,
        subject_id=row.job_id or row.subject_id,
        sequence=row.sequence,
        created_at=row.created_at,
        event=json.loads(row.body),
    )


def replay(row: ReplayRow) -> webhooks.Replay:
    return webhooks.Replay.model_validate(
        {
            "id": row.id,
            "endpoint_id": row.endpoint_id,
            "from": row.from_time,
            "to": row.to_time,
            "states": row.states,
            "event_types": row.event_types,
            "state": row.state,
            "deliveries": row.deliveries,
            "created_at": row.created_at,
            "finished_at": row.finished_at,
        }
    )
