"""Bodies of the health checks and of the original server's two addresses."""

from __future__ import annotations

from typing import Any, Literal

from api.schemas.body import ResponseBody


class Liveness(ResponseBody):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(ResponseBody):
    """`degraded`: submissions are accepted, but something that is needed later does not answer."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, str]


class Healthcheck(ResponseBody):
    """The original server's health."""

    healthy: bool
    model_version: str | None = None


class Prediction(ResponseBody):
    """The original server's answer. `df_probability` is -1 exactly where `prediction` is NO_FACE."""

    df_probability: float
    prediction: Literal["FAKE", "REAL", "NO_FACE"]
    start_time: str
    end_time: str
    job_id: str


PREDICT_EXAMPLES: dict[str, Any] = {
    "address": {
        "summary": "A file on the web",
        "value": {"file_path": "https://www.evalai.org/ocasio.mp4"},
    }
}
