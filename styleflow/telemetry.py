"""Operational metrics: each with its unit and labels. docs/operations.md has a line for each; a test compares."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry(auto_describe=True)
"""Our own, so that what is exported is what is listed here."""

HTTP_SECONDS = Histogram(
    "styleflow_http_request_seconds",
    "Time from the arrival of a request to the end of its answer, waiting included.",
    ("method", "route", "status"),
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)

RATE_LIMIT_SKIPPED = Counter(
    "styleflow_rate_limit_skipped",
    "Requests that this process let through uncounted, because Redis did not answer.",
    registry=REGISTRY,
)

ATTEMPTS_ENDED = Counter(
    "styleflow_attempts_ended",
    "Attempts of this worker that ended, by how: succeeded, failed, retried, released, lost or canceled.",
    ("ended",),
    registry=REGISTRY,
)

DUTIES_BROKEN = Counter(
    "styleflow_duties_broken",
    "Runs of a duty of this light worker that ended by an error which nobody thought of, by duty.",
    ("duty",),
    registry=REGISTRY,
)

FENCED_COMMITS = Counter(
    "styleflow_fenced_commits",
    "Writes of this worker that were refused because its lease had gone to another.",
    registry=REGISTRY,
)
