"""From a request to a batch: what can be checked without reading the list."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from api.dependencies import Services
from api.retention_terms import agree_on_retention
from api.schemas.batches import CreateBatch, Defaults, InlineSource, ManifestSource, PrefixSource
from api.schemas.options import stored_options
from api.submission import check_callback, policy_of
from styleflow.batches.listing import manifest_address
from styleflow.batches.queries import NewBatch
from styleflow.errors import SourceNotAllowed
from styleflow.jobs.state import Lane
from styleflow.storage.keys import PRIVATE_PREFIXES

SHORTEST_BATCH_DAYS = 1.0
"""The order and its counts can be read for so long, whatever is kept of its jobs."""


def new_batch(services: Services, session: Session, project_id: str, body: CreateBatch, request_id: str) -> NewBatch:
    """Raises SourceNotAllowed for a list in a bucket that is not allowed, UnknownModel and InvalidRequest."""
    agreed = agree_on_retention(services, session, project_id, body.defaults.retention, "/defaults/retention")
    return NewBatch(
        project_id=project_id,
        name=body.name,
        source=_source(services, body.source),
        template={
            **_template(services, session, project_id, body.defaults, body.lane),
            "retention": agreed.stored(),
        },
        max_in_flight=body.max_in_flight or services.settings.batch_in_flight,
        max_item_errors=body.max_item_errors,
        budget_seconds=body.budget.worker_seconds if body.budget else None,
        request_id=request_id,
        keep_days=max(SHORTEST_BATCH_DAYS, agreed.results_days),
    )


def _source(services: Services, source: ManifestSource | PrefixSource | InlineSource) -> dict[str, Any]:
    match source:
        case InlineSource():
            return source.model_dump(mode="json", exclude_none=True)
        case PrefixSource():
            _check_place(services, source.bucket, source.prefix)
            return source.model_dump(mode="json")
        case ManifestSource():
            bucket, key = manifest_address(source.uri)
            _check_place(services, bucket, key)
            return {"type": "manifest", "bucket": bucket, "key": key, "format": source.format}


def _check_place(services: Services, bucket: str, key: str) -> None:
    own = services.open_source(bucket).name == services.bucket.name
    if own and key.startswith(PRIVATE_PREFIXES):
        raise SourceNotAllowed("The key lies where this service keeps its own objects.")


def _template(services: Services, session: Session, project_id: str, defaults: Defaults, lane: Lane) -> dict[str, Any]:
    model = defaults.model or services.settings.default_model
    services.catalog.resolve(model)
    check_callback(session, project_id, defaults.callback, "/defaults/callback/endpoint_id")
    return {
        "model": model,
        "lane": str(lane),
        "options": stored_options(defaults.options),
        "dedupe": str(defaults.dedupe),
        "policy": policy_of(session, project_id, defaults.policy),
        "tags": dict(defaults.tags),
        "metadata": dict(defaults.metadata),
        "callback_endpoint_id": defaults.callback.endpoint_id if defaults.callback else None,
    }
