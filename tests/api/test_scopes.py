"""Which scope each call needs, and that a misspelt parameter is refused by all of them."""

from __future__ import annotations

import re

from styleflow import api_keys
from tests.api.conftest import Office, Running
from tests.api.test_problems import URL, assert_problem
from tests.api.test_two_tenants import example

SCOPE_OF = [
    ("jobs:read", "GET", "/v1/jobs"),
    ("jobs:read", "GET", "/v1/jobs/x"),
    ("jobs:read", "GET", "/v1/jobs/x/result"),
    ("jobs:read", "GET", "/v1/jobs/x/attempts"),
    ("jobs:read", "GET", "/v1/jobs/x/events"),
    ("jobs:read", "GET", "/v1/models"),
    ("jobs:read", "GET", "/v1/models/x"),
    ("jobs:read", "GET", "/v1/limits"),
    ("jobs:read", "GET", "/v1/events"),
    ("jobs:read", "GET", "/v1/uploads/x"),
    ("jobs:read", "GET", "/v1/batches"),
    ("jobs:read", "GET", "/v1/batches/x"),
    ("jobs:read", "GET", "/v1/batches/x/items"),
    ("jobs:read", "GET", "/v1/batches/x/errors"),
    ("jobs:read", "GET", "/v1/exports"),
    ("jobs:read", "POST", "/v1/exports"),
    ("jobs:read", "GET", "/v1/exports/x"),
    ("jobs:read", "DELETE", "/v1/exports/x"),
    ("jobs:read", "POST", "/v1/exports/x:cancel"),
    ("jobs:read", "GET", "/v1/exports/x/files"),
    ("jobs:read", "GET", "/v1/exports/x/files/y"),
    ("jobs:read", "GET", "/v1/batches/x/events"),
    ("batches:write", "POST", "/v1/batches"),
    ("batches:write", "POST", "/v1/batches/x:pause"),
    ("batches:write", "POST", "/v1/batches/x:resume"),
    ("batches:write", "POST", "/v1/batches/x:cancel"),
    ("batches:write", "POST", "/v1/batches/x:retry-failed"),
    ("evidence:read", "GET", "/v1/jobs/x/tracks"),
    ("evidence:read", "GET", "/v1/jobs/x/tracks/y"),
    ("evidence:read", "GET", "/v1/jobs/x/clips"),
    ("evidence:read", "GET", "/v1/jobs/x/segments"),
    ("evidence:read", "GET", "/v1/jobs/x/frames"),
    ("evidence:read", "GET", "/v1/jobs/x/report"),
    ("evidence:read", "GET", "/v1/jobs/x/artifacts"),
    ("evidence:read", "GET", "/v1/jobs/x/artifacts/y"),
    ("jobs:write", "POST", "/v1/jobs"),
    ("jobs:write", "POST", "/v1/jobs/x:cancel"),
    ("jobs:write", "POST", "/v1/jobs/x:retry"),
    ("jobs:write", "POST", "/v1/jobs/x:rerun"),
    ("jobs:read", "GET", "/v1/policies"),
    ("jobs:read", "GET", "/v1/policies/x"),
    ("jobs:read", "GET", "/v1/policies/x/revisions"),
    ("jobs:read", "GET", "/v1/policies/x/revisions/y"),
    ("jobs:read", "POST", "/v1/policies/x:preview"),
    ("jobs:read", "GET", "/v1/retention"),
    ("erasure:write", "PUT", "/v1/retention"),
    ("erasure:write", "POST", "/v1/erasures"),
    ("erasure:write", "GET", "/v1/erasures"),
    ("erasure:write", "GET", "/v1/erasures/x"),
    ("erasure:write", "GET", "/v1/legal-holds"),
    ("erasure:write", "POST", "/v1/jobs/x:hold"),
    ("erasure:write", "POST", "/v1/jobs/x:release"),
    ("models:admin", "PUT", "/v1/policies/x"),
    ("models:admin", "POST", "/v1/policies/x:relabel"),
    ("jobs:read", "GET", "/v1/relabelings"),
    ("jobs:read", "GET", "/v1/relabelings/x"),
    ("jobs:write", "DELETE", "/v1/jobs/x"),
    ("jobs:write", "POST", "/v1/uploads"),
    ("jobs:write", "POST", "/v1/uploads/x:complete"),
    ("jobs:write", "DELETE", "/v1/uploads/x"),
    ("jobs:write", "POST", "/v1/uploads/x/parts"),
    ("jobs:read", "GET", "/v1/uploads/x/parts"),
    ("jobs:write", "POST", "/predict"),
    ("jobs:read", "GET", "/healthcheck"),
    ("webhooks:manage", "POST", "/v1/webhook-endpoints"),
    ("webhooks:manage", "GET", "/v1/webhook-endpoints"),
    ("webhooks:manage", "GET", "/v1/webhook-endpoints/x"),
    ("webhooks:manage", "PATCH", "/v1/webhook-endpoints/x"),
    ("webhooks:manage", "DELETE", "/v1/webhook-endpoints/x"),
    ("webhooks:manage", "POST", "/v1/webhook-endpoints/x:ping"),
    ("webhooks:manage", "POST", "/v1/webhook-endpoints/x:enable"),
    ("webhooks:manage", "POST", "/v1/webhook-endpoints/x:rotate-secret"),
    ("webhooks:manage", "POST", "/v1/webhook-endpoints/x:replay"),
    ("webhooks:manage", "GET", "/v1/replays/x"),
    ("webhooks:manage", "GET", "/v1/webhook-endpoints/x/deliveries"),
    ("webhooks:manage", "GET", "/v1/deliveries/x"),
    ("webhooks:manage", "POST", "/v1/deliveries/x:redeliver"),
    ("keys:admin", "POST", "/v1/api-keys"),
    ("keys:admin", "GET", "/v1/api-keys"),
    ("keys:admin", "GET", "/v1/api-keys/x"),
    ("keys:admin", "DELETE", "/v1/api-keys/x"),
    ("keys:admin", "POST", "/v1/api-keys/x:rotate"),
    ("audit:read", "GET", "/v1/audit-events"),
    ("jobs:read", "GET", "/v1/usage"),
    ("", "GET", "/v1/project"),  # any key may ask where it belongs
]


def routes_with_a_key(running: Running) -> list[tuple[str, str]]:
    """Method and template."""
    return [
        (method.upper(), path)
        for path, operations in running.app.openapi()["paths"].items()
        for method, operation in operations.items()
        if operation["security"]
    ]


def test_each_call_needs_its_scope_and_no_other_scope_will_do(office: Office) -> None:
    scopes = sorted({scope for scope, _, _ in SCOPE_OF if scope})
    for needed in scopes:
        tenant = office.tenant(scopes=tuple(scope for scope in scopes if scope != needed))
        for scope, method, path in SCOPE_OF:
            if scope == needed:
                answer = tenant.client.request(method, path, json={} if method in ("POST", "PATCH", "PUT") else None)
                assert_problem(answer, 403, "forbidden_scope")


def test_the_table_lists_every_route_with_a_key(running: Running) -> None:
    listed = {(method, re.sub(r"\bx\b|\by\b", "{}", path)) for _, method, path in SCOPE_OF}

    assert listed == {(method, re.sub(r"{\w+}", "{}", path)) for method, path in routes_with_a_key(running)}


def test_an_unknown_query_parameter_is_refused_on_every_versioned_route(office: Office) -> None:
    tenant = office.tenant(scopes=tuple(api_keys.SCOPES))
    for method, template in routes_with_a_key(tenant.running):
        if not template.startswith("/v1/"):
            continue
        path = re.sub(r"{\w+}", "x", template)
        answer = tenant.client.request(method, f"{path}?stat~e=1", json=example(tenant.running, method, template))
        problem = assert_problem(answer, 422, "invalid_request")
        assert [(error["in"], error["pointer"]) for error in problem["errors"]] == [("query", "/stat~0e")]
    assert tenant.client.post("/v1/jobs?wait=5", json={"source": URL}).status_code == 422
    assert tenant.client.get("/livez?probe=1").status_code == 200
