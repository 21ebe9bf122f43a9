"""Calls of policies: by which thresholds a probability becomes a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from styleflow.client.answers import Policy, Record, Relabeling
from styleflow.client.calls import Call, given, keyed, part, reads
from styleflow.client.lists import Pages


def get(name: str) -> Call[Policy]:
    """The newest revision of a policy."""
    return Call(method="GET", path=f"/v1/policies/{part(name)}", read=reads(Policy))


def list_(*, page_size: int | None = None) -> Pages[Policy]:
    """The newest revision of every policy."""
    return Pages("/v1/policies", Policy, {"limit": page_size})


def revisions(name: str, *, page_size: int | None = None) -> Pages[Policy]:
    """All revisions of a policy, newest first."""
    return Pages(f"/v1/policies/{part(name)}/revisions", Policy, {"limit": page_size})


def revision(name: str, number: int) -> Call[Policy]:
    """One revision, as results cite it: `name@number`."""
    return Call(method="GET", path=f"/v1/policies/{part(name)}/revisions/{number}", read=reads(Policy))


def put(name: str, policy: Mapping[str, Any], *, if_match: str | None = None) -> Call[Policy]:
    """Make a policy, or its next revision. With `if_match`, the `etag` of the one that was read, it is sent once."""
    headers = {} if if_match is None else {"If-Match": if_match}
    path, once = f"/v1/policies/{part(name)}", if_match is not None
    return Call(method="PUT", path=path, body=dict(policy), headers=headers, repeatable=not once, read=reads(Policy))


def preview(
    name: str,
    *,
    thresholds: Mapping[str, float] | None = None,
    batch_id: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> Call[Record]:
    """How the words of stored results would change, by these thresholds or the policy's own. Nothing is changed."""
    scope = _scope(batch_id, created_after, created_before)
    body = {**scope, **given(thresholds=None if thresholds is None else dict(thresholds))}
    return Call(
        method="POST", path=f"/v1/policies/{part(name)}:preview", body=body, repeatable=True, read=reads(Record)
    )


def relabel(
    name: str,
    *,
    batch_id: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    idempotency_key: str | None = None,
) -> Call[Relabeling]:
    """Put the newest revision's words on stored results; `default` puts back those of the packs."""
    path, body = f"/v1/policies/{part(name)}:relabel", _scope(batch_id, created_after, created_before)
    headers = keyed(idempotency_key)
    return Call(method="POST", path=path, body=body, headers=headers, repeatable=True, read=reads(Relabeling))


def relabeling(relabeling_id: str) -> Call[Relabeling]:
    """How far the new words are."""
    return Call(method="GET", path=f"/v1/relabelings/{part(relabeling_id)}", read=reads(Relabeling))


def relabelings(*, page_size: int | None = None) -> Pages[Relabeling]:
    """The project's relabellings, newest first."""
    return Pages("/v1/relabelings", Relabeling, {"limit": page_size})


def _scope(batch_id: str | None, created_after: datetime | None, created_before: datetime | None) -> dict[str, Any]:
    return given(batch_id=batch_id, created_after=created_after, created_before=created_before)
