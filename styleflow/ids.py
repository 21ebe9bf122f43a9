"""Opaque ids: a type prefix and a ULID, so that they sort by creation and read well in a log."""

from __future__ import annotations

from ulid import ULID


def new_id(prefix: str) -> str:
    """For instance `new_id("job")` gives `job_01JD…` (30 characters)."""
    return f"{prefix}_{ULID()}"
