"""`/v1/policies`: named thresholds, revision by revision; and new words on results that are there already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Path, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.answers import Answer, Once, as_json, ok
from api.auth import JobsReader, ModelsAdmin
from api.dependencies import JSON_ONLY, IdempotencyKey, Services, ServicesDep, header_error
from api.documented import IDEMPOTENT, WITH_BODY, WITH_KEY, problems
from api.pages import clamp_limit, link_header, page
from api.relabelings import cited
from api.relabelings import shape as relabeling_shape
from api.schemas.policies import (
    PREVIEW_EXAMPLES,
    PUT_EXAMPLES,
    RELABEL_EXAMPLES,
    Policy,
    PolicyList,
    PolicyName,
    PolicyPage,
    Preview,
    PreviewPolicy,
    PutPolicy,
    Relabeling,
    RelabelingScope,
    RevisionQuery,
    ThresholdValues,
)
from api.submission import field_problem
from styleflow import audit
from styleflow.batches.queries import get_batch
from styleflow.errors import InvalidRequest
from styleflow.policies import queries, relabeling, restoring
from styleflow.policies.relabeling import Scope
from styleflow.policy_tables import PolicyRow
from styleflow.report import Thresholds

router = APIRouter(prefix="/v1", tags=["policies"], dependencies=[JSON_ONLY])

_ETAG = {"description": "The revision, for If-Match.", "schema": {"type": "string"}}
_LOCATION = {"description": "Where to follow it.", "schema": {"type": "string"}}
_TAG = re.compile(r'"(\d{1,9})"')


@router.get(
    "/policies",
    operation_id="listPolicies",
    summary="List the policies of the project",
    response_model=PolicyList,
    responses=problems(*WITH_KEY),
)
def list_policies(principal: JobsReader, services: ServicesDep) -> Response:
    """The newest revision of each. `default`, the pack's own thresholds, is not among them: `getModel` shows those."""
    with services.database.transaction() as session:
        rows = queries.list_newest(session, principal.project_id)
    return ok(PolicyList(data=[_shape(row) for row in rows]))


@router.get(
    "/policies/{name}",
    operation_id="getPolicy",
    summary="Read the newest revision of a policy",
    response_model=Policy,
    responses={**problems(*WITH_KEY, "not_found"), 200: {"headers": {"ETag": _ETAG}}},
)
def get_policy(name: str, principal: JobsReader, services: ServicesDep) -> Response:
    """With the ETag that a change needs."""
    with services.database.transaction() as session:
        row = queries.newest(session, principal.project_id, name)
    return ok(_shape(row), {"ETag": _etag(row)})


@router.get(
    "/policies/{name}/revisions",
    operation_id="listPolicyRevisions",
    summary="List the revisions of a policy, newest first",
    response_model=PolicyPage,
    responses=problems(*WITH_KEY, "not_found", "cursor_mismatch"),
)
def list_revisions(
    request: Request,
    name: str,
    query: Annotated[RevisionQuery, Query()],
    principal: JobsReader,
    services: ServicesDep,
) -> Response:
    """Every one that was ever in force."""
    now = datetime.now(UTC).timestamp()
    bound = {"list": "revisions", "of": principal.project_id, "name": name}
    before = None if query.cursor is None else int(services.cursors.open(query.cursor, bound, now)[0])
    limit = clamp_limit(query.limit)
    with services.database.transaction() as session:
        rows = queries.list_revisions(session, principal.project_id, name, limit + 1, before)
    return _page(request, services, rows, limit, bound, now)


@router.get(
    "/policies/{name}/revisions/{revision}",
    operation_id="getPolicyRevision",
    summary="Read one revision of a policy",
    response_model=Policy,
    responses=problems(*WITH_KEY, "not_found"),
)
def get_revision(
    name: str, revision: Annotated[int, Path(ge=1, le=2**31 - 1)], principal: JobsReader, services: ServicesDep
) -> Response:
    """As results cite it: `name@revision`."""
    with services.database.transaction() as session:
        row = queries.get_revision(session, principal.project_id, name, revision)
    return ok(_shape(row))


def _page(
    request: Request, services: Services, rows: Sequence[PolicyRow], limit: int, bound: dict[str, Any], now: float
) -> Response:
    cursor = services.cursors.seal([rows[limit - 1].revision], bound, now) if len(rows) > limit else None
    body = PolicyPage.model_construct(**page([_shape(row) for row in rows[:limit]], cursor))
    return ok(body, link_header(request.url.path, request.query_params.multi_items(), cursor))


@router.put(
    "/policies/{name}",
    operation_id="putPolicy",
    summary="Make a policy, or its next revision",
    status_code=200,
    response_model=Policy,
    responses={
        **problems(*WITH_KEY, *WITH_BODY, "precondition_failed", "precondition_required"),
        200: {"headers": {"ETag": _ETAG}},
    },
)
def put_policy(
    name: PolicyName,
    body: Annotated[PutPolicy, Body(openapi_examples=PUT_EXAMPLES)],
    principal: ModelsAdmin,
    services: ServicesDep,
    if_match: Annotated[str | None, Header(json_schema_extra={"pattern": '^"[0-9]{1,9}"$'})] = None,
    if_none_match: Annotated[Literal["*"] | None, Header(description="`*`: only if there is none yet.")] = None,
) -> Response:
    """A policy that exists is changed with `If-Match`. Jobs take the newest revision when they are accepted; stored
    results keep their words until `:relabel`.
    """
    if name == queries.DEFAULT:
        raise InvalidRequest("The name default is the pack's own thresholds; choose another.")
    expected = _expected(if_match)
    with services.database.transaction() as session:
        row = queries.put(
            session,
            principal.project_id,
            name,
            _read(name, body.thresholds),
            body.description,
            expected,
            only_new=if_none_match is not None,
        )
        audit.record(session, principal.project_id, principal.id, "policy.changed", queries.label(row))
    return ok(_shape(row), {"ETag": _etag(row)})


@router.post(
    "/policies/{name}:preview",
    operation_id="previewPolicy",
    summary="Count how the words of stored results would change",
    response_model=Preview,
    responses=problems(*WITH_KEY, *WITH_BODY, "not_found"),
)
def preview_policy(
    name: str,
    body: Annotated[PreviewPolicy, Body(openapi_examples=PREVIEW_EXAMPLES)],
    principal: JobsReader,
    services: ServicesDep,
) -> Response:
    """Nothing is changed, and nothing is judged again. Thresholds to try need not belong to a policy that exists."""
    with services.database.transaction() as session:
        thresholds = (
            _read(name, body.thresholds)
            if body.thresholds is not None
            else queries.thresholds_of(queries.newest(session, principal.project_id, name))
        )
        changes = relabeling.preview(session, principal.project_id, thresholds, _scope(session, principal, body))
    looked_at = sum(jobs for then in changes.values() for jobs in then.values())
    kept = sum(then.get(now, 0) for now, then in changes.items())
    return ok(Preview(changes=changes, looked_at=looked_at, changed=looked_at - kept))


@router.post(
    "/policies/{name}:relabel",
    operation_id="relabel",
    summary="Put the newest revision's words on stored results",
    status_code=202,
    response_model=Relabeling,
    responses={
        **problems(*WITH_KEY, *WITH_BODY, *IDEMPOTENT, "not_found"),
        202: {"headers": {"Location": _LOCATION}},
    },
)
def relabel(
    name: str,
    body: Annotated[RelabelingScope, Body(openapi_examples=RELABEL_EXAMPLES)],
    principal: ModelsAdmin,
    services: ServicesDep,
    key: IdempotencyKey,
) -> Response:
    """In the background, without inference: scores stay, verdicts follow, and each result cites the new revision.
    `default` puts back the thresholds of the pack that judged."""
    content = [name, body.model_dump(mode="json", exclude_unset=True)]
    hours = services.settings.idempotency_hours
    once = Once(principal.project_id, "POST /v1/policies/{name}:relabel", key, content, hours)
    with services.database.transaction() as session:
        answer = once.answer(session, lambda: _ordered(session, services, principal, name, body))
    return answer.response()


def _ordered(session: Session, services: Services, principal: ModelsAdmin, name: str, body: RelabelingScope) -> Answer:
    own = restoring.own_thresholds(pack.card for pack in services.catalog.packs)
    row = relabeling.order(session, principal.project_id, name, _scope(session, principal, body), own)
    audit.record(session, principal.project_id, principal.id, "policy.relabel", cited(row), {"relabeling": row.id})
    return Answer(202, as_json(relabeling_shape(row)), {"Location": f"/v1/relabelings/{row.id}"})


def _scope(session: Session, principal: JobsReader, body: RelabelingScope) -> Scope:
    if body.batch_id is not None:
        get_batch(session, principal.project_id, body.batch_id)
    if body.created_after and body.created_before and body.created_after >= body.created_before:
        raise field_problem("/created_before", "must lie after created_after")
    return Scope(batch_id=body.batch_id, created_after=body.created_after, created_before=body.created_before)


def _read(name: str, values: ThresholdValues) -> Thresholds:
    return Thresholds(policy=name, weak=values.weak, suspicious=values.suspicious, strong=values.strong)


def _expected(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    found = _TAG.fullmatch(if_match.strip())
    if found is None:
        raise header_error("If-Match", 'must be the ETag of the policy, such as "3"')
    return int(found[1])


def _etag(row: PolicyRow) -> str:
    return f'"{row.revision}"'


def _shape(row: PolicyRow) -> Policy:
    return Policy(
        name=row.name,
        revision=row.revision,
        thresholds={"weak": row.weak, "suspicious": row.suspicious, "strong": row.strong},
        description=row.description,
        created_at=row.created_at,
    )
