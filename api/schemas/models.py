"""Bodies of `/v1/models` and `/v1/limits`."""

from __future__ import annotations

from typing import Any, Literal

from api.schemas.body import ResponseBody, Timestamp
from api.schemas.projects import Quota


class Model(ResponseBody):
    """A weights pack that is served, and everything that its card says."""

    id: str
    object: Literal["model"] = "model"
    name: str
    version: str
    default: bool
    size: str
    components: list[str]
    weights: list[dict[str, Any]]
    preprocessing: dict[str, Any]
    calibration: dict[str, Any] | None
    calibrated: bool
    training: dict[str, Any]
    sources: list[dict[str, Any]]
    licences: list[str]
    created_at: Timestamp


class ModelList(ResponseBody):
    """By name and version."""

    data: list[Model]


class Limits(ResponseBody):
    """Every ceiling that a request can meet. Sizes are bytes, durations seconds."""

    max_body_bytes: int
    max_upload_bytes: int
    max_media_bytes: int
    max_media_seconds: float
    max_wait_seconds: int
    max_tags: int
    max_metadata_bytes: int
    max_client_ref_characters: int
    max_inline_items: int
    max_in_flight: int
    max_open_exports: int
    max_page: int
    max_frames_page: int
    max_attempts: int
    idempotency_hours: float
    upload_hours: float
    retention: dict[str, float]
    requests_per_minute: dict[str, int]
    quotas: list[Quota]
