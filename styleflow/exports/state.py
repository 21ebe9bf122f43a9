"""Where an export stands, and what becomes of it when it meets trouble. Pure: no clock, no session."""

from __future__ import annotations

from enum import StrEnum

MAX_TRIES = 12
"""Claims without a file in between, after which an export fails. With the pauses below it is tried for two hours."""
PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 900.0


class ExportState(StrEnum):
    """Where the export stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


TERMINAL = frozenset({ExportState.SUCCEEDED, ExportState.FAILED, ExportState.CANCELED})


class Rows(StrEnum):
    """What one row of an export is."""

    JOBS = "jobs"
    TRACKS = "tracks"
    CLIPS = "clips"
    FRAMES = "frames"
    SEGMENTS = "segments"


EVIDENCE = frozenset({Rows.TRACKS, Rows.CLIPS, Rows.FRAMES, Rows.SEGMENTS})
"""What only a key with `evidence:read` may have written and read."""


class Format(StrEnum):
    """What its files are written in."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def pause(tries: int) -> float:
    """Seconds until an export that met trouble at its `tries`-th claim is tried again."""
    return min(LONGEST_PAUSE_SECONDS, PAUSE_SECONDS * 2.0 ** min(tries - 1, 16))
