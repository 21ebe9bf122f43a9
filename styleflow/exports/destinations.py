"""Which project's exports may be written into which bucket. Pure."""

from __future__ import annotations

from collections.abc import Collection


def may_write(allowed: Collection[str], project_id: str, bucket: str) -> bool:
    """`allowed` is the operator's list: `BUCKET:PROJECT` is for one project, by its id, and a plain `BUCKET` for every
    project, which then may write beside each other."""
    return any(_fits(entry, project_id, bucket) for entry in allowed)


def _fits(entry: str, project_id: str, bucket: str) -> bool:
    name, _, project = entry.rpartition(":")
    if not project.startswith("prj_"):
        return entry == bucket
    return (name, project) == (bucket, project_id)
