"""`styleflow batches` against a real service."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.remote.conftest import Caller
from tests.stack import eventually


@pytest.fixture
def objects(caller: Caller) -> list[str]:
    """Four videos in the service's own bucket, as `s3://…`."""
    folder = caller.installation.bucket / "ugc" / uuid4().hex
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.mp4").write_text(f"0.01 {uuid4()}")
    return [f"s3://bucket/ugc/{folder.name}/{number}.mp4" for number in range(4)]


def test_a_list_is_submitted_and_watched_to_its_end(caller: Caller, objects: list[str]) -> None:
    looks = caller.json("batches", "submit", *objects, "--name", "appeals", "--lane", "standard", "--watch")
    last = looks[-1]
    assert (last["state"], last["counts"]["succeeded"], last["name"]) == ("completed", 4, "appeals")
    assert all("rate_per_second" in look for look in looks)
    assert [batch["id"] for batch in caller.json("batches", "list", "--state", "completed")] == [last["id"]]
    items = caller.json("jobs", "list", "--batch", last["id"])
    assert len(items) == 4


def test_a_prefix_and_a_manifest_are_lists_too(caller: Caller, objects: list[str]) -> None:
    prefix = objects[0].rpartition("/")[0]
    (taken,) = caller.json("batches", "submit", "--prefix", f"{prefix}/", "--extension", ".mp4", "--lane", "standard")
    assert taken["source"]["extensions"] == [".mp4"]
    manifest = caller.installation.bucket / "lists" / f"{uuid4().hex}.csv"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text("\n".join(["bucket,key", *(f"bucket,{name.removeprefix('s3://bucket/')}" for name in objects)]))
    (listed,) = caller.json("batches", "submit", "--manifest", f"s3://bucket/lists/{manifest.name}")
    assert listed["source"]["format"] == "csv"
    for batch in (taken, listed):
        (*_, last) = caller.json("batches", "watch", batch["id"], "--every", "0.2")
        assert (last["state"], last["counts"]["succeeded"]) == ("completed", 4)


def test_people_read_a_line_whenever_something_changed(caller: Caller, objects: list[str]) -> None:
    done = caller.run("batches", "submit", *objects, "--watch", "--lane", "standard")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "completed  4 of 4 (100 %)  succeeded 4"
    batch = caller.json("batches", "list")[0]["id"]
    shown = caller.run("batches", "show", batch)
    assert "succeeded=4" in shown.stdout


def test_what_failed_is_listed_and_ends_with_one(caller: Caller, objects: list[str]) -> None:
    absent = f"{objects[0].rpartition('/')[0]}/absent.mp4"
    looks = caller.json("batches", "submit", objects[0], absent, "--lane", "standard", "--watch", code=1)
    batch = looks[-1]["id"]
    (error,) = caller.json("batches", "errors", batch)
    assert (error["code"], error["line"]) == ("source_not_found", 2)
    assert caller.run("batches", "errors", batch).stdout.split("\t")[2] == "source_not_found"
    (again,) = caller.json("batches", "retry", batch)
    assert again["state"] == "running"
    caller.json("batches", "watch", batch, "--every", "0.2", code=1)


def test_a_batch_is_paused_resumed_and_canceled(caller: Caller, objects: list[str]) -> None:
    (batch,) = caller.json("batches", "submit", *objects, "--max-in-flight", "1")
    eventually(lambda: caller.json("batches", "show", batch["id"])[0]["state"] in ("running", "completed"))
    for verb, state in (("pause", "paused"), ("resume", "running")):
        (told,) = caller.json("batches", verb, batch["id"])
        assert told["state"] == state
    caller.json("batches", "cancel", batch["id"])
    (*_, last) = caller.json("batches", "watch", batch["id"], "--every", "0.2", code=1)
    assert last["state"] == "canceled"
    assert caller.run("batches", "pause", batch["id"]).exit_code == 2, "what is over is not paused"


def test_watching_ends_when_the_time_is_over(caller: Caller, objects: list[str]) -> None:
    (batch,) = caller.json("batches", "submit", *objects, "--max-in-flight", "1")
    eventually(lambda: caller.json("batches", "show", batch["id"])[0]["state"] != "expanding")
    caller.json("batches", "pause", batch["id"])
    done = caller.run("batches", "watch", batch["id"], "--timeout", "0.5", "--every", "0.2")
    assert (done.exit_code, "still paused" in done.stderr) == (6, True)
    caller.json("batches", "cancel", batch["id"])


def test_the_same_key_submits_once(caller: Caller, objects: list[str]) -> None:
    told = [caller.json("batches", "submit", objects[0], "--idempotency-key", "run-7")[0]["id"] for _ in range(2)]
    assert len(set(told)) == 1
    refused = caller.run("batches", "submit", objects[1], "--idempotency-key", "run-7")
    assert (refused.exit_code, "idempotency_mismatch" in refused.stderr) == (2, True)


def test_options_are_members_of_the_request(caller: Caller, objects: list[str], tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"defaults": {"options": {"sampling": {"clips": 3}}}}))
    (batch,) = caller.json(
        *("batches", "submit", objects[0], "--template", str(template), "--tag", "queue=politics"),
        *("--stop-after-errors", "3", "--budget", "60", "--lane", "standard"),
    )
    assert (batch["on_item_error"], batch["max_item_errors"]) == ("stop_after_n", 3)
    assert batch["cost"]["budget_worker_seconds"] == 60
    caller.json("batches", "watch", batch["id"], "--every", "0.2")
    (job,) = caller.json("jobs", "list", "--batch", batch["id"])
    assert (job["tags"], job["options"]) == ({"queue": "politics"}, {"sampling": {"clips": 3}})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one kind of source"),
        (("s3://b/k", "--prefix", "s3://b/p"), "one kind of source"),
        (("clip.mp4",), "send files with"),
        (("--prefix", "b/p"), "--prefix takes s3://"),
        (("s3://b/k", "--extension", ".mp4"), "go with --prefix"),
        (("s3://foreign/k", "--from", "/absent"), "cannot be read"),
        (("--prefix", "s3://foreign/p"), "source_not_allowed"),
    ],
)
def test_what_is_no_batch_is_refused_in_a_sentence(caller: Caller, arguments: tuple[str, ...], words: str) -> None:
    done = caller.run("batches", "submit", *arguments)
    assert (done.exit_code, words in done.stderr) == (2, True), done.stderr
