"""API keys over REST: made, shown once, rotated, revoked; a key hands on no more than it has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest
from sqlalchemy import text

from api.schemas.keys import Scope
from styleflow import api_keys
from styleflow.settings import Settings
from tests.api.conftest import Office, Running, Tenant, serve
from tests.api.test_problems import assert_problem

KEYS = "/v1/api-keys"
ALL = tuple(sorted(api_keys.SCOPES))


@pytest.fixture
def admin(office: Office) -> Tenant:
    return office.tenant(scopes=ALL)


def make(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    answer = tenant.client.post(KEYS, json={"name": "ci", "scopes": ["jobs:read"], **changes})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def works(running: Running, secret: str, **headers: str) -> bool:
    with running.client(secret, **headers) as client:
        status = client.get("/v1/project").status_code
    assert status in (200, 401)
    return status == 200


def audited(tenant: Tenant, target: str) -> list[str]:
    events = tenant.client.get("/v1/audit-events", params={"target": target}).json()["data"]
    return [event["action"] for event in events][::-1]


def test_the_scopes_that_can_be_asked_for_are_those_that_there_are() -> None:
    assert set(get_args(Scope)) == api_keys.SCOPES


def test_a_key_is_shown_once_and_works(admin: Tenant) -> None:
    made = make(admin, mode="test", cidrs=["127.0.0.1"])

    assert made["secret"].startswith(f"{made['begins_with']}_")
    assert made["begins_with"].startswith("sfk_test_")
    assert (made["state"], made["scopes"], made["cidrs"]) == ("active", ["jobs:read"], ["127.0.0.1/32"])
    assert works(admin.running, made["secret"])
    shown = admin.client.get(f"{KEYS}/{made['id']}").json()
    assert shown["last_used_at"].endswith(":00.000Z")
    assert {**shown, "last_used_at": None} == {**made, "secret": None}
    assert audited(admin, made["id"]) == ["key.created"]


def test_the_secret_is_kept_nowhere(admin: Tenant) -> None:
    answer = admin.client.post(
        KEYS, json={"name": "ci", "scopes": ["jobs:read"]}, headers={"Idempotency-Key": "one"}
    ).json()
    rotated = admin.client.post(f"{KEYS}/{answer['id']}:rotate", headers={"Idempotency-Key": "two"}).json()

    with admin.running.database.transaction() as session:
        for table in ("api_keys", "idempotency_keys", "audit_events"):
            held = session.execute(text(f"select coalesce(string_agg(t::text, ' '), '') from {table} t")).scalar_one()
            for made in (answer, rotated):
                assert made["secret"].rpartition("_")[2][:43] not in held


def test_a_repeated_request_makes_no_second_key_and_is_answered_without_the_secret(admin: Tenant) -> None:
    first, again = (
        admin.client.post(KEYS, json={"name": "ci", "scopes": ["jobs:read"]}, headers={"Idempotency-Key": "one"})
        for _ in range(2)
    )

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == {**first.json(), "secret": None}
    assert audited(admin, first.json()["id"]) == ["key.created"]


def test_keys_come_newest_first_in_pages(admin: Tenant) -> None:
    made = [make(admin)["id"] for _ in range(3)]

    first = admin.client.get(KEYS, params={"limit": 2}).json()
    second = admin.client.get(KEYS, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [key["id"] for key in first["data"] + second["data"]][:3] == made[::-1]
    assert (len(second["data"]), second["has_more"]) == (2, False)
    assert all(key["secret"] is None for key in first["data"])


def test_a_revoked_key_is_worth_nothing_and_stays_in_the_list(admin: Tenant) -> None:
    made = make(admin)

    for _ in range(2):
        assert admin.client.delete(f"{KEYS}/{made['id']}").status_code == 204

    assert not works(admin.running, made["secret"])
    assert admin.client.get(f"{KEYS}/{made['id']}").json()["state"] == "revoked"
    assert audited(admin, made["id"]) == ["key.created", "key.revoked"]
    assert_problem(admin.client.post(f"{KEYS}/{made['id']}:rotate"), 409, "not_retryable")


def test_an_expired_key_is_worth_nothing(admin: Tenant) -> None:
    made = make(admin, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert works(admin.running, made["secret"])

    _set(admin, made["id"], "expires_at = now() - interval '1 second'")

    assert not works(admin.running, made["secret"])
    assert admin.client.get(f"{KEYS}/{made['id']}").json()["state"] == "expired"


def test_both_secrets_are_good_until_the_overlap_ends(admin: Tenant) -> None:
    made = make(admin)

    rotated = admin.client.post(f"{KEYS}/{made['id']}:rotate", json={"overlap_hours": 1.5}).json()

    assert rotated["secret"] != made["secret"]
    assert rotated["begins_with"] == made["begins_with"]
    assert works(admin.running, made["secret"])
    assert works(admin.running, rotated["secret"])
    until = datetime.fromisoformat(rotated["previous_secret_until"])
    assert timedelta(hours=1.4) < until - datetime.now(UTC) <= timedelta(hours=1.5)
    _set(admin, made["id"], "previous_expires_at = now() - interval '1 second'")
    assert not works(admin.running, made["secret"])
    assert works(admin.running, rotated["secret"])
    assert audited(admin, made["id"]) == ["key.created", "key.rotated"]


def test_an_overlap_of_nothing_ends_the_old_secret_at_once_and_a_second_rotation_the_oldest(admin: Tenant) -> None:
    made = make(admin)
    second, third = (admin.client.post(f"{KEYS}/{made['id']}:rotate").json()["secret"] for _ in range(2))
    assert [works(admin.running, one) for one in (made["secret"], second, third)] == [False, True, True]

    fourth = admin.client.post(f"{KEYS}/{made['id']}:rotate", json={"overlap_hours": 0}).json()["secret"]

    assert [works(admin.running, one) for one in (second, third, fourth)] == [False, False, True]


def test_a_rotation_that_is_repeated_rotates_once(admin: Tenant) -> None:
    made = make(admin)
    first, again = (
        admin.client.post(f"{KEYS}/{made['id']}:rotate", headers={"Idempotency-Key": "one"}) for _ in range(2)
    )

    assert again.json() == {**first.json(), "secret": None}
    assert works(admin.running, made["secret"])
    assert works(admin.running, first.json()["secret"])


def test_a_key_that_is_rotated_under_load_never_fails(admin: Tenant) -> None:
    made = make(admin, scopes=list(ALL))
    refused: list[int] = []
    done = threading.Event()

    def use() -> None:
        with admin.running.client(made["secret"]) as client:
            while not done.is_set():
                refused.extend([answer.status_code for answer in [client.get("/v1/project")] if answer.is_error])

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    with admin.running.client(made["secret"]) as client:
        rotated = client.post(f"{KEYS}/{made['id']}:rotate")  # a key rotates itself
    for _ in range(10):
        assert works(admin.running, rotated.json()["secret"])
    done.set()
    for thread in threads:
        thread.join()

    assert refused == []


def test_a_key_cannot_give_or_renew_what_it_lacks(office: Office, admin: Tenant) -> None:
    limited = office.tenant(scopes=("keys:admin", "jobs:read"), project_id=admin.project_id)

    refusal = limited.client.post(KEYS, json={"name": "more", "scopes": ["jobs:read", "jobs:write", "audit:read"]})
    assert "audit:read, jobs:write" in assert_problem(refusal, 403, "forbidden_scope")["detail"]
    stronger = make(admin, scopes=["jobs:write"])["id"]
    assert_problem(limited.client.post(f"{KEYS}/{stronger}:rotate"), 403, "forbidden_scope")
    assert limited.client.delete(f"{KEYS}/{stronger}").status_code == 204


def test_a_key_makes_none_that_outlives_it(office: Office, admin: Tenant) -> None:
    end = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    short = make(admin, scopes=["keys:admin", "jobs:read"], expires_at=end.isoformat())
    longer = make(admin, scopes=["jobs:read"])["id"]
    with admin.running.client(short["secret"]) as client:
        child = client.post(KEYS, json={"name": "child", "scopes": ["jobs:read"]}).json()
        late = {"name": "late", "scopes": ["jobs:read"], "expires_at": (end + timedelta(seconds=1)).isoformat()}
        problem = assert_problem(client.post(KEYS, json=late), 422, "invalid_request")
        assert_problem(client.post(f"{KEYS}/{longer}:rotate"), 422, "invalid_request")

    assert child["expires_at"] == short["expires_at"]
    assert problem["errors"][0]["pointer"] == "/expires_at"


def test_a_key_of_some_networks_makes_none_for_others(admin: Tenant) -> None:
    near = make(admin, scopes=["keys:admin", "jobs:read"], cidrs=["127.0.0.0/8"])
    anywhere = make(admin)["id"]
    with admin.running.client(near["secret"]) as client:
        child = client.post(KEYS, json={"name": "child", "scopes": ["jobs:read"]}).json()
        wide = {"name": "wide", "scopes": ["jobs:read"], "cidrs": ["0.0.0.0/0"]}
        assert_problem(client.post(KEYS, json=wide), 422, "invalid_request")
        assert_problem(client.post(f"{KEYS}/{anywhere}:rotate"), 422, "invalid_request")

    assert child["cidrs"] == ["127.0.0.0/8"]


def test_a_key_is_good_from_its_networks_only_and_nobody_is_believed_who_says_otherwise(admin: Tenant) -> None:
    here = make(admin, cidrs=["127.0.0.0/8"])["secret"]
    elsewhere = make(admin, cidrs=["203.0.113.0/24", "2001:db8::/32"])["secret"]

    assert works(admin.running, here)
    assert works(admin.running, here, **{"X-Forwarded-For": "198.51.100.7"})
    assert not works(admin.running, elsewhere)
    assert not works(admin.running, elsewhere, **{"X-Forwarded-For": "203.0.113.7"})


def test_behind_a_trusted_proxy_its_word_counts(admin: Tenant, api_settings: Callable[..., Settings]) -> None:
    elsewhere = make(admin, cidrs=["203.0.113.0/24"])["secret"]
    with serve(api_settings(trusted_proxies=["127.0.0.0/8"])) as running:
        assert works(running, elsewhere, **{"X-Forwarded-For": "203.0.113.7"})
        assert not works(running, elsewhere, **{"X-Forwarded-For": "203.0.113.7, 198.51.100.7"})
        assert not works(running, elsewhere)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["jobs:everything"]}, "/scopes/0"),
        ({"name": ""}, "/name"),
        ({"name": "a\x00"}, "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        ({"cidrs": []}, "/cidrs"),
        ({"cidrs": ["10.0.0.1/8"]}, "/cidrs/0"),
        ({"cidrs": ["example.org"]}, "/cidrs/0"),
        ({"mode": "prod"}, "/mode"),
        ({"secret": "mine"}, "/secret"),
    ],
)
def test_what_cannot_be_a_key_is_refused(admin: Tenant, change: dict[str, Any], pointer: str) -> None:
    answer = admin.client.post(KEYS, json={"name": "x", "scopes": ["jobs:read"], **change})

    assert assert_problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("hours", [-1, 169, "1", True, None])
def test_an_overlap_is_a_number_of_hours_up_to_a_week(admin: Tenant, hours: object) -> None:
    made = make(admin)["id"]

    answer = admin.client.post(f"{KEYS}/{made}:rotate", json={"overlap_hours": hours})

    assert_problem(answer, 422, "invalid_request")


def test_a_key_whose_word_is_changed_is_no_key(admin: Tenant) -> None:
    secret: str = make(admin)["secret"]
    forged = secret.replace("sfk_live_", "sfk_test_")

    with admin.running.client() as client:
        answer: httpx.Response = client.get("/v1/project", headers={"X-API-Key": forged})
    assert_problem(answer, 401, "unauthenticated")


def _set(tenant: Tenant, key_id: str, change: str) -> None:
    with tenant.running.database.transaction() as session:
        session.execute(text(f"update api_keys set {change} where id = :id"), {"id": key_id})
