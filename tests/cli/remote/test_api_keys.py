"""`styleflow api-keys` against a real service."""

from __future__ import annotations

from tests.cli.remote.conftest import Caller


def test_a_key_is_made_works_is_rotated_and_revoked(caller: Caller) -> None:
    (made,) = caller.json("api-keys", "create", "--name", "moderation", "--scope", "jobs:read", "--days", "1")
    assert caller.run("jobs", "list", STYLEFLOW_API_KEY=made["secret"]).exit_code == 0
    assert caller.run("jobs", "cancel", "job_1", STYLEFLOW_API_KEY=made["secret"]).exit_code == 4

    (rotated,) = caller.json("api-keys", "rotate", made["id"], "--overlap-hours", "0")
    assert caller.run("jobs", "list", STYLEFLOW_API_KEY=made["secret"]).exit_code == 4
    assert caller.run("jobs", "list", STYLEFLOW_API_KEY=rotated["secret"]).exit_code == 0

    assert rotated["secret"] not in caller.run("api-keys", "show", made["id"]).stdout
    assert made["id"] in {key["id"] for key in caller.json("api-keys", "list")}
    assert caller.json("api-keys", "revoke", made["id"]) == [{"id": made["id"], "state": "revoked"}]
    assert caller.run("jobs", "list", STYLEFLOW_API_KEY=rotated["secret"]).exit_code == 4


def test_a_key_gives_no_scope_that_it_lacks(caller: Caller) -> None:
    (admin,) = caller.json("api-keys", "create", "--scope", "keys:admin")
    refused = caller.run("api-keys", "create", "--scope", "jobs:read", STYLEFLOW_API_KEY=admin["secret"])
    assert (refused.exit_code, "forbidden_scope" in refused.stderr) == (4, True)
