"""Calls about how long things are kept: retention, legal holds, and erasures with their proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from styleflow.client.answers import Erasure, LegalHold, ProjectRetention
from styleflow.client.calls import Call, given, keyed, part, reads
from styleflow.client.lists import Pages


def get_retention() -> Call[ProjectRetention]:
    """For how long what is kept of the project's jobs: its own wishes, what comes of them, and the operator's most."""
    return Call(method="GET", path="/v1/retention", read=reads(ProjectRetention))


def put_retention(wishes: Mapping[str, Any], *, if_match: str) -> Call[ProjectRetention]:
    """Set the project's wishes for jobs that are accepted from now on; what is left out is the operator's default.
    `if_match` is the `etag` of what was read, and it is sent once."""
    return Call(
        method="PUT",
        path="/v1/retention",
        body=dict(wishes),
        headers={"If-Match": if_match},
        repeatable=False,
        read=reads(ProjectRetention),
    )


def hold(job_id: str, reason: str) -> Call[LegalHold]:
    """Put a job under legal hold: nothing of it is erased until it is released. A hold that stands already stays."""
    path = f"/v1/jobs/{part(job_id)}:hold"
    return Call(method="POST", path=path, body={"reason": reason}, repeatable=True, read=reads(LegalHold))


def release(job_id: str) -> Call[LegalHold]:
    """Release a job from its hold. What was due meanwhile goes soon."""
    return Call(method="POST", path=f"/v1/jobs/{part(job_id)}:release", repeatable=True, read=reads(LegalHold))


def holds(*, state: str | None = None, page_size: int | None = None) -> Pages[LegalHold]:
    """Legal holds, those placed last first. `state` is `standing` or `released`."""
    return Pages("/v1/legal-holds", LegalHold, {"state": state, "limit": page_size})


def erase(
    *,
    client_ref: str | None = None,
    sha256: str | None = None,
    job_ids: Sequence[str] | None = None,
    created_before: datetime | None = None,
    idempotency_key: str | None = None,
) -> Call[Erasure]:
    """Order all jobs of a reference, of a video or of a list to be erased; give exactly one of the three."""
    listed = None if job_ids is None else list(job_ids)
    body = given(client_ref=client_ref, sha256=sha256, job_ids=listed, created_before=created_before)
    headers = keyed(idempotency_key)
    return Call(method="POST", path="/v1/erasures", body=body, headers=headers, repeatable=True, read=reads(Erasure))


def get_erasure(erasure_id: str) -> Call[Erasure]:
    """How far it is; with its proof once it is `completed`."""
    return Call(method="GET", path=f"/v1/erasures/{part(erasure_id)}", read=reads(Erasure))


def erasures(*, state: str | None = None, page_size: int | None = None) -> Pages[Erasure]:
    """The project's orders, newest first."""
    return Pages("/v1/erasures", Erasure, {"state": state, "limit": page_size})
