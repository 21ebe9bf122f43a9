"""What an attempt leaves in the bucket: the whole report, and pictures of faces. Keys hold the fencing token, so that
attempts never share an object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from styleflow.errors import SourceNotFound
from styleflow.jobs.queries import Claim
from styleflow.jobs.reuse import Earlier
from styleflow.report import VideoReport, report_to_json
from styleflow.storage.bucket import Bucket
from styleflow.storage.copying import copy_folder
from styleflow.storage.keys import crop_key, report_key

JPEG = "image/jpeg"


def wants_crops(held: Claim) -> bool:
    """Whether pictures of faces are to be made for the job, where the operator lets them be."""
    asked = (held.options.get("evidence") or {}).get("crops", True)
    return bool(asked) and held.keeps_crops and not held.zero_retention


def store(
    bucket: Bucket,
    held: Claim,
    report: VideoReport,
    crops: Mapping[str, bytes],
    fetch_ms: int,
    checkpoint: Callable[[], None],
) -> str:
    """Store the crops, then the report that names them; the report's key. Raises what the bucket raises, and what
    `checkpoint` raises, which is called before each object."""
    for crop_id, jpeg in crops.items():
        checkpoint()
        bucket.put(crop_key(held.job_id, held.token, crop_id), jpeg, JPEG)
    checkpoint()
    body = report_to_json(report)
    body["timing_ms"] = {"fetch": fetch_ms, **body["timing_ms"]}
    key = report_key(held.job_id, held.token)
    bucket.put(key, json.dumps(body, separators=(",", ":")).encode(), "application/json")
    return key


def copy(
    bucket: Bucket, earlier: Earlier, held: Claim, scratch: Path, checkpoint: Callable[[], None], *, crops: bool
) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """Copy an earlier result's objects, with `crops` those too; the report's key, and the crops that were still there.

    Raises SourceNotFound when the report is gone, what the bucket raises, and what `checkpoint` raises.
    """
    key = report_key(held.job_id, held.token)
    copy_folder(bucket, earlier.report_key, key, scratch, checkpoint)
    return key, [
        crop for crop in earlier.crops if crops and _copied(bucket, earlier, held, crop["crop_id"], checkpoint)
    ]


def _copied(bucket: Bucket, earlier: Earlier, held: Claim, crop_id: str, checkpoint: Callable[[], None]) -> bool:
    checkpoint()
    try:
        with bucket.open(crop_key(earlier.job_id, earlier.token, crop_id)) as chunks:
            jpeg = b"".join(chunks)
    except SourceNotFound:  # its time came meanwhile
        return False
    bucket.put(crop_key(held.job_id, held.token, crop_id), jpeg, JPEG)
    return True
