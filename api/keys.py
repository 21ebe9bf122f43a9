"""`/v1/api-keys`: make, look at, rotate and revoke the keys of the caller's project."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.answers import Answer, Once, as_json, ok
from api.auth import KeysAdmin
from api.dependencies import JSON_ONLY, IdempotencyKey, Services, ServicesDep
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.schemas.keys import CREATE_EXAMPLES, ROTATE_EXAMPLES, ApiKey, ApiKeyPage, CreateKey, KeyQuery, RotateKey
from api.submission import field_problem
from styleflow import api_keys, audit
from styleflow.api_keys import Principal
from styleflow.errors import ForbiddenScope
from styleflow.key_grants import Grant, missing_scopes, outlives, reaches_further
from styleflow.tables import ApiKeyRow

router = APIRouter(prefix="/v1/api-keys", tags=["keys"], dependencies=[JSON_ONLY])

_LOCATION = {"description": "Where to look at the key.", "schema": {"type": "string"}}


@router.post(
    "",
    operation_id="createApiKey",
    summary="Make an API key",
    status_code=201,
    response_model=ApiKey,
    responses={
        **problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT),
        201: {"headers": {"Location": _LOCATION}},
    },
)
def create_key(
    body: Annotated[CreateKey, Body(openapi_examples=CREATE_EXAMPLES)],
    principal: KeysAdmin,
    services: ServicesDep,
    key: IdempotencyKey,
) -> Response:
    """`secret` is in this answer and in no other: a request repeated with its Idempotency-Key is answered without it.
    Who lost the answer revokes the key and makes another. A key makes none with a scope that it lacks, none that
    outlives it, and none that is good from where it is not itself.
    """
    content = body.model_dump(mode="json", exclude_unset=True)
    once = Once(principal.project_id, "POST /v1/api-keys", key, content, services.settings.idempotency_hours)
    shown: list[str] = []
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _created(services, session, principal, body, shown))
    return _with_secret(answer, shown)


def _created(services: Services, session: Session, principal: Principal, body: CreateKey, shown: list[str]) -> Answer:
    """Without the secret, because this is what an Idempotency-Key keeps; that goes into `shown`."""
    holder = api_keys.grant_of_holder(session, principal)
    cidrs = holder.cidrs if body.cidrs is None else tuple(dict.fromkeys(body.cidrs))
    expires_at = holder.expires_at if body.expires_at is None else body.expires_at
    wanted = Grant(scopes=frozenset(body.scopes), expires_at=expires_at, cidrs=cidrs)
    _check_handed_on(holder, wanted)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise field_problem("/expires_at", "must lie in the future")
    row, secret = api_keys.create(
        session,
        services.pepper,
        principal.project_id,
        body.name,
        body.scopes,
        expires_at=expires_at,
        cidrs=cidrs,
        mode=body.mode,
    )
    shown.append(secret)
    details = {"name": row.name, "scopes": row.scopes, "cidrs": row.cidrs, "mode": row.mode}
    audit.record(session, principal.project_id, principal.id, "key.created", row.id, details)
    return Answer(201, as_json(key_body(row)), {"Location": f"/v1/api-keys/{row.id}"})


def _check_handed_on(holder: Grant, wanted: Grant) -> None:
    if missing := missing_scopes(holder, wanted):
        raise ForbiddenScope(f"This API key cannot give what it lacks: {', '.join(missing)}.")
    if outlives(holder, wanted):
        raise field_problem("/expires_at", "must not be later than the end of the key that makes it")
    if reaches_further(holder, wanted):
        raise field_problem("/cidrs", "must lie within the networks of the key that makes it")


def _with_secret(answer: Answer, shown: list[str]) -> Response:
    return Answer(answer.status, {**answer.body, "secret": shown[0] if shown else None}, answer.headers).response()


def key_body(row: ApiKeyRow) -> ApiKey:
    """Nothing by which somebody could use it."""
    now = datetime.now(UTC)
    state = "expired" if row.expires_at is not None and row.expires_at <= now else "active"
    overlap = row.previous_expires_at if row.previous_secret_hash is not None else None
    return ApiKey(
        id=row.id,
        begins_with=f"sfk_{row.mode}_{row.key_id}",
        name=row.name,
        mode=row.mode,
        scopes=row.scopes,
        cidrs=row.cidrs,
        state="revoked" if row.revoked_at is not None else state,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=None if row.last_used_at is None else row.last_used_at.replace(second=0, microsecond=0),
        rotated_at=row.rotated_at,
        previous_secret_until=overlap if overlap is not None and overlap > now else None,
    )


@router.get(
    "",
    operation_id="listApiKeys",
    summary="List the API keys, newest first",
    response_model=ApiKeyPage,
    responses=problems(*WITH_KEY, "cursor_mismatch"),
)
def list_keys(
    request: Request, query: Annotated[KeyQuery, Query()], principal: KeysAdmin, services: ServicesDep
) -> Response:
    """The expired and the revoked among them; none with its secret."""
    now, limit = datetime.now(UTC).timestamp(), clamp_limit(query.limit)
    bound = {"list": "api-keys", "of": principal.project_id}
    after = services.cursors.open(query.cursor, bound, now)[0] if query.cursor else None
    with services.database.transaction() as session:
        rows = api_keys.page_of_keys(session, principal.project_id, limit + 1, after)
    cursor = services.cursors.seal([rows[limit - 1].id], bound, now) if len(rows) > limit else None
    body = ApiKeyPage.model_construct(**page([key_body(row) for row in rows[:limit]], cursor))
    return ok(body, link_header("/v1/api-keys", request.query_params.multi_items(), cursor))


@router.get(
    "/{api_key_id}",
    operation_id="getApiKey",
    summary="Look at an API key",
    response_model=ApiKey,
    responses=problems(*WITH_KEY, "not_found"),
)
def read_key(api_key_id: str, principal: KeysAdmin, services: ServicesDep) -> Response:
    """Without its secret."""
    with services.database.transaction() as session:
        return ok(key_body(api_keys.get_key(session, principal.project_id, api_key_id)))


@router.delete(
    "/{api_key_id}",
    operation_id="revokeApiKey",
    summary="Revoke an API key",
    status_code=204,
    responses=problems(*WITH_KEY, "not_found"),
)
def revoke_key(api_key_id: str, principal: KeysAdmin, services: ServicesDep) -> Response:
    """It is worth nothing from now on, both of its secrets. Harmless to repeat; it stays in the list."""
    with services.database.transaction() as session:
        row = api_keys.get_key(session, principal.project_id, api_key_id, lock=True)
        if row.revoked_at is None:
            api_keys.revoke(session, principal.project_id, api_key_id)
            audit.record(session, principal.project_id, principal.id, "key.revoked", row.id, {"name": row.name})
    return Response(status_code=204)


@router.post(
    "/{api_key_id}:rotate",
    operation_id="rotateApiKey",
    summary="Give an API key a new secret",
    response_model=ApiKey,
    responses=problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "not_found", "not_retryable"),
)
def rotate_key(
    api_key_id: str,
    principal: KeysAdmin,
    services: ServicesDep,
    key: IdempotencyKey,
    body: Annotated[RotateKey | None, Body(openapi_examples=ROTATE_EXAMPLES)] = None,
) -> Response:
    """The secret until now stays good for `overlap_hours` (24), so that its users can be moved one by one; a secret
    from a rotation before that ends now. A key rotates itself and whatever it could have made. `secret` is shown once,
    as when a key is made.
    """
    order = body or RotateKey()
    content = [api_key_id, order.overlap_hours]
    once = Once(
        principal.project_id, "POST /v1/api-keys/{id}:rotate", key, content, services.settings.idempotency_hours
    )
    shown: list[str] = []
    with services.database.transaction() as session:
        answer = once.answer(
            session, lambda: _rotated(services, session, principal, api_key_id, order.overlap_hours, shown)
        )
    return _with_secret(answer, shown)


def _rotated(
    services: Services, session: Session, principal: Principal, api_key_id: str, hours: float, shown: list[str]
) -> Answer:
    # In order of their ids, so that two keys that rotate each other do not wait for each other.
    for needed in sorted({principal.id, api_key_id}):
        api_keys.get_key(session, principal.project_id, needed, lock=True)
    row = api_keys.get_key(session, principal.project_id, api_key_id)
    _check_handed_on(api_keys.grant_of_holder(session, principal), api_keys.grant_of(row))
    shown.append(api_keys.rotate(session, services.pepper, row, hours))
    details = {"name": row.name, "overlap_minutes": round(hours * 60)}
    audit.record(session, principal.project_id, principal.id, "key.rotated", row.id, details)
    return Answer(200, as_json(key_body(row)))
