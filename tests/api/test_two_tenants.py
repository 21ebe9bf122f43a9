"""Nothing of one tenant is there for another: every route with an id, whatever its kind, and every list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from styleflow import api_keys
from styleflow.ids import new_id
from tests.api.conftest import Office, Running, Tenant

URL = {"type": "url", "url": "https://media.example.org/clip.mp4"}
ALL = tuple(sorted(api_keys.SCOPES))
NAMED = ("/v1/models", "/v1/policies")
"""Under these are names, not ids: every tenant sees all models, and each has policies of its own."""
SPAN = {"from": "2026-11-20T12:00:00Z", "to": "2026-11-20T13:00:00Z"}
UNKNOWN = "01JD8QJ6ZB5T2Z1V9W3E7R4M0K"
VOLATILE = {"request_id", "instance"}


def _job(owner: Tenant) -> str:
    job: str = owner.post_job(client_ref="of-a")["id"]
    owner.succeed(job)
    return job


def _made(owner: Tenant, path: str, body: dict[str, Any] | None = None) -> str:
    answer = owner.client.post(path, json=body, headers={"Idempotency-Key": path})
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def _batch(owner: Tenant) -> str:
    return _made(owner, "/v1/batches", {"name": "b", "source": {"type": "inline", "items": [{"source": URL}]}})


def _relabeling(owner: Tenant) -> str:
    words = {"thresholds": {"weak": 0.1, "suspicious": 0.2, "strong": 0.3}}
    owner.client.put(f"/v1/policies/p{uuid4().hex}", json=words)
    newest = owner.client.get("/v1/policies").json()["data"][0]["name"]
    return _made(owner, f"/v1/policies/{newest}:relabel", {})


def _endpoint(owner: Tenant) -> str:
    return _made(owner, "/v1/webhook-endpoints", {"url": "https://a.example.org/"})


MAKERS: dict[str, Callable[[Tenant], str]] = {
    "job_id": _job,
    "batch_id": _batch,
    "upload_id": lambda owner: _made(owner, "/v1/uploads", {"filename": "a.mp4", "size_bytes": 3}),
    "endpoint_id": _endpoint,
    "delivery_id": lambda owner: _made(owner, f"/v1/webhook-endpoints/{_endpoint(owner)}:ping"),
    "api_key_id": lambda owner: _made(owner, "/v1/api-keys", {"name": "k", "scopes": ["jobs:read"]}),
    "export_id": lambda owner: _made(owner, "/v1/exports", {"format": "csv"}),
    "relabeling_id": _relabeling,
    "replay_id": lambda owner: _made(owner, f"/v1/webhook-endpoints/{_endpoint(owner)}:replay", SPAN),
    "erasure_id": lambda owner: _made(owner, "/v1/erasures", {"client_ref": uuid4().hex}),
    "track_id": lambda owner: "trk_1",
    "artifact_id": lambda owner: "art_1",
    "name": lambda owner: "manifest.json",
}
"""Parameter of a path → how its owner makes such a thing. A new kind needs its line: the test fails without."""


@pytest.fixture
def owner(office: Office) -> Tenant:
    return office.tenant(scopes=ALL)


@pytest.fixture
def stranger(office: Office) -> Tenant:
    return office.tenant(scopes=ALL)


def routes(running: Running) -> list[tuple[str, str]]:
    """Method and template of every route that takes an id and a key."""
    found = [
        (method.upper(), path)
        for path, operations in running.app.openapi()["paths"].items()
        for method, operation in operations.items()
        if operation["security"] and "{" in path and not path.startswith(NAMED)
    ]
    assert found
    return found


def example(running: Running, method: str, path: str) -> Any:
    """A body that the route would take, from its description."""
    operation = running.app.openapi()["paths"][path][method.lower()]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return None if content is None else next(iter(content["examples"].values()))["value"]


def asked(client: httpx.Client, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    headers = {"Idempotency-Key": uuid4().hex, "If-Match": '"1"', "Last-Event-ID": "1"}
    answer = client.request(method, path, json=body, headers=headers)
    body = answer.json()
    return answer.status_code, {name: value for name, value in body.items() if name not in VOLATILE}


def test_every_kind_of_id_in_a_path_is_known_here(running: Running) -> None:
    kinds = {kind for _, path in routes(running) for kind in re.findall(r"{(\w+)}", path)}

    assert kinds <= MAKERS.keys(), "say in MAKERS how such a thing is made"


def test_an_id_of_another_tenant_is_answered_like_one_that_there_never_was(owner: Tenant, stranger: Tenant) -> None:
    ids = {kind: make(owner) for kind, make in MAKERS.items()}
    unknown = {kind: f"{identity.partition('_')[0]}_{UNKNOWN}" for kind, identity in ids.items()}
    for method, path in routes(owner.running):
        body = example(owner.running, method, path)
        foreign = asked(stranger.client, method, path.format(**ids), body)
        assert foreign[0] == 404, (method, path, foreign)
        assert foreign == asked(stranger.client, method, path.format(**unknown), body), (method, path)
    for kind, place in (("job_id", "jobs"), ("batch_id", "batches"), ("api_key_id", "api-keys")):
        assert owner.client.get(f"/v1/{place}/{ids[kind]}").status_code == 200


@contextmanager
def statements() -> Iterator[list[str]]:
    """The text of what this process asks the database meanwhile, without how many values a list has."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_an_id_of_another_tenant_costs_the_same_statements_as_one_that_there_never_was(
    owner: Tenant, stranger: Tenant
) -> None:
    """So time does not tell them apart either: both are looked up alike, and neither waits for a row of the owner."""
    ids = {kind: make(owner) for kind, make in MAKERS.items()}
    # As young as the others: rows are locked in order of their ids.
    unknown = {kind: new_id(identity.partition("_")[0]) for kind, identity in ids.items()}
    asked(stranger.client, "GET", "/v1/jobs")  # notes when the key was used, once a minute
    compared = 0
    for method, path in routes(owner.running):
        body = example(owner.running, method, path)
        with statements() as foreign:
            asked(stranger.client, method, path.format(**ids), body)
        with statements() as made_up:
            asked(stranger.client, method, path.format(**unknown), body)
        assert foreign == made_up, (method, path)
        compared += len(foreign)
    assert compared > len(routes(owner.running))


def test_no_list_shows_anything_of_another_tenant(owner: Tenant, stranger: Tenant) -> None:
    ids = {kind: make(owner) for kind, make in MAKERS.items() if kind.endswith("_id")}
    del ids["track_id"], ids["artifact_id"]
    mine = stranger.client.get("/v1/api-keys").json()["data"]
    assert len(mine) == 1
    places = ["jobs", "batches", "webhook-endpoints", "events", "audit-events", "api-keys", "exports", "policies"]
    places += ["erasures", "legal-holds", "relabelings"]
    places += [f"jobs?batch_id={ids['batch_id']}", "jobs?client_ref=of-a", f"audit-events?target={ids['api_key_id']}"]
    for place in places:
        text = stranger.client.get(f"/v1/{place}").text
        assert owner.project_id not in text
        assert [identity for identity in ids.values() if identity in text] == [], place
    held = owner.post_job(client_ref="of-a")["id"]
    owner.client.post(f"/v1/jobs/{held}:hold", json={"reason": "case 4711"})
    assert stranger.client.get("/v1/legal-holds").json()["data"] == []
    usage = stranger.client.get("/v1/usage?group_by=none").json()["data"]
    assert sum(row["jobs_accepted"] + row["upload_bytes"] for row in usage) == 0


def test_ids_that_are_mixed_up_between_tenants_and_kinds_find_nothing(owner: Tenant, stranger: Tenant) -> None:
    ids = {kind: make(owner) for kind, make in MAKERS.items()}
    own = {kind: make(stranger) for kind, make in MAKERS.items()}
    everything = routes(owner.running)
    pool = st.sampled_from(sorted(set(ids.values()) | set(own.values())))

    @given(route=st.sampled_from(everything), identities=st.lists(pool, min_size=3, max_size=3))
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    def mixed(route: tuple[str, str], identities: list[str]) -> None:
        method, path = route
        kinds = re.findall(r"{(\w+)}", path)
        given_ids = dict(zip(kinds, identities, strict=False))
        if given_ids[kinds[0]] == own[kinds[0]] or method == "DELETE":
            return
        status, _ = asked(stranger.client, method, path.format(**given_ids), example(owner.running, method, path))
        assert status == 404, (method, path, given_ids)

    mixed()


def test_a_body_cannot_name_what_is_another_tenants(owner: Tenant, stranger: Tenant) -> None:
    upload, endpoint = MAKERS["upload_id"](owner), _endpoint(owner)
    for foreign, made_up, status in (
        ({"source": {"type": "upload", "upload_id": upload}},
         {"source": {"type": "upload", "upload_id": f"upl_{UNKNOWN}"}}, 404),
        ({"source": URL, "callback": {"endpoint_id": endpoint}},
         {"source": URL, "callback": {"endpoint_id": f"whe_{UNKNOWN}"}}, 422),
    ):  # fmt: skip
        answers = [stranger.client.post("/v1/jobs", json=body).json() for body in (foreign, made_up)]
        assert answers[0]["status"] == status
        assert answers[0] | {"request_id": ""} == answers[1] | {"request_id": ""}


def test_a_cursor_of_another_tenant_is_refused(owner: Tenant, stranger: Tenant) -> None:
    for _ in range(2):
        owner.client.post(f"/v1/jobs/{owner.post_job()['id']}:hold", json={"reason": "case 4711"})
        for kind in ("api_key_id", "relabeling_id"):
            MAKERS[kind](owner)
        owner.client.post("/v1/erasures", json={"client_ref": "nobody"})
    for place in ("jobs", "api-keys", "audit-events", "erasures", "legal-holds", "relabelings"):
        cursor = owner.client.get(f"/v1/{place}?limit=1").json()["next_cursor"]
        if cursor is not None:
            assert stranger.client.get(f"/v1/{place}", params={"limit": 1, "cursor": cursor}).status_code == 400
