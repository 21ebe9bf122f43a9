"""From a request to a promise: is the source allowed, the model served, the callback the caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.dependencies import Services
from api.retention_terms import agree_on_retention
from api.schemas.jobs import Callback, CreateJob, S3Source, UploadSource, UrlSource
from api.schemas.options import stored_options
from api.upload_completion import completed_upload
from styleflow.errors import (
    InvalidRequest,
    RequestError,
    SourceForbidden,
    SourceNotAllowed,
    SourceNotFound,
    StorageUnavailable,
    StyleFlowError,
    UploadMismatch,
)
from styleflow.jobs import intake
from styleflow.jobs.intake import NewJob
from styleflow.jobs.source_copies import ERASED
from styleflow.jobs.upload_sources import upload_source
from styleflow.policies import queries as policies
from styleflow.storage.keys import PRIVATE_PREFIXES
from styleflow.tables import JobRow, UploadRow
from styleflow.webhook_tables import WebhookEndpointRow


@dataclass(frozen=True)
class Prepared:
    """A source as it is stored, or why it cannot be. The refusal waits: a repeated request is owed its first answer."""

    source: Mapping[str, Any]
    refusal: StyleFlowError | None = None

    def accepted(self) -> dict[str, Any]:
        """Raises the refusal."""
        if self.refusal is not None:
            raise self.refusal
        return dict(self.source)


def prepare(services: Services, project_id: str, source: UploadSource | S3Source | UrlSource) -> Prepared:
    """Look at the source, its version pinned where the store tells one, while no transaction is open.

    Refusals: SourceNotAllowed, InvalidRequest, NotFound and UploadMismatch. That an object is missing, or its store
    silent, is found when the job runs: an accepted job fails with its reason.
    """
    try:
        match source:
            case UploadSource():
                row = completed_upload(services.database, services.bucket, project_id, source.upload_id)
                return Prepared(upload_source(row))
            case S3Source():
                return Prepared(_pinned_object(services, source))
            case UrlSource():
                check_address(services, source.url, "/source/url")
                return Prepared({"type": "url", "url": source.url})
    except RequestError as error:
        return Prepared({}, error)


def record(
    services: Services, session: Session, project_id: str, body: CreateJob, prepared: Prepared, request_id: str
) -> JobRow:
    """Write the job. Raises what `prepare` found, UnknownModel, InvalidRequest, BacklogFull and QuotaExceeded."""
    source = prepared.accepted()
    model = body.model or services.settings.default_model
    services.catalog.resolve(model)
    _check_deadline(session, body)
    agreed = agree_on_retention(services, session, project_id, body.retention, "/retention")
    check_callback(session, project_id, body.callback, "/callback/endpoint_id")
    hold_upload(session, source)
    intake.admit(session, services.settings.max_queued_jobs)
    return intake.submit(
        session,
        NewJob(
            project_id=project_id,
            source=source,
            model=model,
            lane=body.lane,
            options=stored_options(body.options),
            client_ref=body.client_ref,
            tags=dict(body.tags),
            metadata=dict(body.metadata),
            callback_endpoint_id=body.callback.endpoint_id if body.callback else None,
            deadline=body.deadline,
            dedupe=body.dedupe,
            **policy_of(session, project_id, body.policy),
            request_id=request_id,
            max_attempts=services.settings.max_attempts,
            expires_in_days=agreed.results_days,
            retention=agreed,
        ),
        services.quotas,
    )


def policy_of(session: Session, project_id: str, name: str) -> dict[str, Any]:
    """What a job keeps of the policy that it names: the newest revision and its thresholds. Raises UnknownPolicy."""
    row = policies.chosen(session, project_id, name)
    if row is None:
        return {}
    thresholds = policies.snapshot(policies.thresholds_of(row))
    return {"policy": row.name, "policy_revision": row.revision, "policy_thresholds": thresholds}


def field_problem(pointer: str, message: str) -> InvalidRequest:
    error = {"in": "body", "pointer": pointer, "code": "value_error", "message": message}
    return InvalidRequest(f"{pointer}: {message}", errors=[error])


def check_address(services: Services, url: str, pointer: str) -> None:
    """Raises SourceNotAllowed for an address that egress refuses, InvalidRequest for what is no address."""
    try:
        services.egress.check_url(url)
    except InvalidRequest as error:
        raise field_problem(pointer, str(error)) from error


def _pinned_object(services: Services, source: S3Source) -> dict[str, Any]:
    bucket = services.open_source(source.bucket)
    if bucket.name == services.bucket.name and source.key.startswith(PRIVATE_PREFIXES):
        raise SourceNotAllowed("The key lies where this service keeps its own objects.")
    stored: dict[str, Any] = {
        "type": "s3",
        "bucket": source.bucket,
        "key": source.key,
        "version_id": source.version_id,
    }
    try:
        facts = bucket.head(source.key, version_id=source.version_id)
    except (StorageUnavailable, SourceNotFound, SourceForbidden):
        facts = None
    except InvalidRequest as error:
        raise field_problem("/source/key", str(error)) from error
    if facts is not None:
        stored |= {
            "etag": facts.etag,
            "size_bytes": facts.size_bytes,
            "version_id": source.version_id or facts.version_id,
        }
    return stored


def _check_deadline(session: Session, body: CreateJob) -> None:
    if body.deadline is not None and body.deadline <= session.execute(select(func.now())).scalar_one():
        raise field_problem("/deadline", "must lie in the future")


def check_callback(session: Session, project_id: str, callback: Callback | None, pointer: str) -> None:
    """Raises InvalidRequest unless it is an endpoint of the project that is not disabled, or none."""
    if callback is None:
        return
    row = session.get(WebhookEndpointRow, callback.endpoint_id)
    if row is None or row.project_id != project_id or row.deleted_at is not None:
        raise field_problem(pointer, "names no webhook endpoint of this project")
    if row.state == "disabled":
        raise field_problem(pointer, "names an endpoint that is disabled")


def hold_upload(session: Session, source: Mapping[str, Any]) -> None:
    """Keep retention from deleting the upload between the look at it and the commit of the job that needs it."""
    if source["type"] != "upload":
        return
    held = (
        select(UploadRow.id)
        .where(UploadRow.id == source["upload_id"], UploadRow.state != ERASED)
        .with_for_update(read=True, key_share=True)
    )
    if session.execute(held).first() is None:
        raise UploadMismatch("The upload has expired; its bytes are no longer kept.")
