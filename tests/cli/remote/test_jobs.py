"""`styleflow jobs` against a real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from styleflow.cli.remote.evidence import name_of
from tests.cli.remote.conftest import Caller
from tests.stack import eventually, free_port

COMMAND = [sys.executable, "-m", "styleflow.cli.main"]


def journal_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_go_in_and_what_was_found_comes_out(caller: Caller) -> None:
    videos = [caller.video(f"{name}.mp4") for name in "abc"]
    options = ("--wait", "--lane", "realtime", "--tag", "queue=politics")
    settled = caller.json("jobs", "submit", *map(str, videos), *options)
    assert sorted(line["source"] for line in settled) == [str(video) for video in videos]
    assert {line["job"]["state"] for line in settled} == {"succeeded"}
    assert {line["job"]["outcome"] for line in settled} == {"not_applicable"}
    assert {line["job"]["lane"] for line in settled} == {"realtime"}
    assert {line["job"]["client_ref"] for line in settled} == {"a.mp4", "b.mp4", "c.mp4"}
    tagged = caller.json("jobs", "list", "--tag", "queue=politics", "--state", "succeeded")
    assert {job["id"] for job in tagged} == {line["job"]["id"] for line in settled}
    assert caller.json("jobs", "list", "--since", "2026-01-01", "--until", "2026-01-02") == []


def test_a_person_reads_a_line_per_job(caller: Caller) -> None:
    video = caller.video()
    done = caller.run("jobs", "submit", str(video), "--wait")
    job, state, found, name = done.stdout.rstrip("\n").split("\t")
    assert job.startswith("job_")
    assert (state, found, name) == ("succeeded", "not_applicable (no_face)", str(video))
    shown = caller.run("jobs", "show", job)
    assert "not_applicable (no_face)" in shown.stdout
    assert job in shown.stdout
    result = json.loads(caller.run("jobs", "show", job, "--result").stdout)
    assert result["outcome"] == "not_applicable"


def test_the_files_behind_a_result_are_listed_and_fetched(caller: Caller, tmp_path: Path) -> None:
    (line,) = caller.json("jobs", "submit", str(caller.video()), "--wait")
    (file,) = caller.json("jobs", "evidence", line["job"]["id"], "--into", str(tmp_path / "case"))
    (stored,) = (tmp_path / "case").iterdir()
    assert (file["kind"], stored.name, stored.stat().st_size) == ("report", "report.json", file["size_bytes"])
    assert json.loads(stored.read_bytes())["outcome"] == "not_applicable"
    assert caller.run("jobs", "evidence", "job_nobody").exit_code != 0


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ({"id": "report", "content_type": "application/json"}, "report.json"),
        ({"id": "crop-1", "content_type": "image/jpeg"}, "crop-1.jpg"),
        ({"id": "odd", "content_type": None}, "odd"),
    ],
)
def test_a_file_is_named_by_what_it_is(file: dict[str, str], name: str) -> None:
    assert name_of(file) == name


def test_without_waiting_the_accepted_jobs_are_told(caller: Caller) -> None:
    (line,) = caller.json("jobs", "submit", str(caller.video()))
    assert line["from_journal"] is False
    (settled,) = caller.json("jobs", "wait", line["job"]["id"])
    assert settled["state"] == "succeeded"


def test_ids_come_from_standard_input_too(caller: Caller) -> None:
    jobs = [line["job"]["id"] for line in caller.json("jobs", "submit", str(caller.video("a")), str(caller.video("b")))]
    assert {job["id"] for job in caller.json("jobs", "wait", "-", stdin="\n".join(jobs))} == set(jobs)


def test_a_list_may_hold_anything_and_each_refusal_is_told_beside_what_was_accepted(caller: Caller) -> None:
    video = caller.video()
    listed = caller.home / "list"
    listed.write_text(f"# mine\n{video}\n\n{video}\n{caller.home}/absent.mp4\ns3://foreign/a.mp4\n")
    lines = {line["source"]: line for line in caller.json("jobs", "submit", "--from", str(listed), code=2)}
    assert lines[str(video)]["job"]["state"] == "queued"
    assert lines[f"{caller.home}/absent.mp4"]["error"]["code"] == "invalid_request"
    refused = lines["s3://foreign/a.mp4"]["error"]
    assert (refused["code"], bool(refused["request_id"])) == ("source_not_allowed", True)
    assert len(caller.json("jobs", "list")) == 1


def test_a_rerun_submits_nothing_twice_and_tells_what_is_known(caller: Caller) -> None:
    journal = str(caller.home / "journal")
    videos = [str(caller.video(name)) for name in "ab"]
    first = caller.json("jobs", "submit", *videos, "--journal", journal)
    more = [*videos, str(caller.video("c"))]
    again = caller.json("jobs", "submit", *more, "--journal", journal, "--wait")
    assert len(caller.json("jobs", "list")) == 3
    known = {line["job"]["id"] for line in again if line["from_journal"]}
    assert known == {line["job"]["id"] for line in first}
    assert {line["job"]["state"] for line in again} == {"succeeded"}, "those of an earlier run are waited for as well"


def test_killed_in_the_middle_and_run_again_every_video_has_exactly_one_job(caller: Caller) -> None:
    videos = [caller.video(f"{number:02}.mp4") for number in range(24)]
    listed, journal = caller.home / "list", caller.home / "journal"
    listed.write_text("\n".join(map(str, videos)))
    arguments = [
        "jobs",
        "submit",
        "--from",
        str(listed),
        "--journal",
        str(journal),
        "--parallel",
        "3",
        "--lane",
        "bulk",
    ]
    command = [*COMMAND, *arguments]
    environment = {**os.environ, **caller.environment}
    kills = 0
    for lines in (6, 20, 35):
        run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(
            lambda lines=lines, run=run: (
                run.poll() is not None  # type: ignore[misc]
                or (journal.exists() and journal.read_bytes().count(b"\n") >= lines)
            )
        )
        run.send_signal(signal.SIGKILL)
        kills += run.wait() == -signal.SIGKILL
    assert kills >= 2, "it was killed while it worked"
    noted = journal_lines(journal)
    assert len({line["key"] for line in noted}) > sum("job_id" in line for line in noted), "something was under way"
    done = caller.json(*arguments)
    assert len(done) == 24
    jobs = caller.json("jobs", "list", "--all")
    assert sorted(job["client_ref"] for job in jobs) == [video.name for video in videos]
    assert {line["job"]["id"] for line in done} == {job["id"] for job in jobs}


def test_two_runs_do_not_share_a_journal(caller: Caller) -> None:
    journal = caller.home / "journal"
    slow = "import time; from pathlib import Path; from styleflow.cli.remote.journal import Journal\n"
    slow += f"with Journal(Path({str(journal)!r})):\n  print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    refused = caller.run("jobs", "submit", str(caller.video()), "--journal", str(journal))
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert (refused.exit_code, "another process submits with it" in refused.stderr) == (2, True)


def test_a_wait_ends_when_the_time_is_over(caller: Caller) -> None:
    (line,) = caller.json("jobs", "submit", str(caller.video(seconds=20)))
    begun = time.monotonic()
    done = caller.run("jobs", "wait", line["job"]["id"], "--timeout", "1")
    assert done.exit_code == 6
    assert "timed_out" in done.stderr
    assert time.monotonic() - begun < 10
    caller.json("jobs", "cancel", line["job"]["id"])
    canceled = caller.json("jobs", "wait", line["job"]["id"], code=1)
    assert canceled[0]["state"] == "canceled"


def test_a_verdict_was_asked_for_and_none_could_be_given(caller: Caller) -> None:
    (line,) = caller.json("jobs", "submit", str(caller.video()), "--wait", "--need-score", code=1)
    assert line["job"]["outcome"] == "not_applicable"


def test_what_failed_is_tried_again_and_what_is_finished_is_erased(caller: Caller) -> None:
    (line,) = caller.json("jobs", "submit", str(caller.video(seconds=20)))
    job = line["job"]["id"]
    caller.json("jobs", "cancel", job)
    caller.json("jobs", "wait", job, code=1)
    (retried,) = caller.json("jobs", "retry", job)
    assert retried["parent_job_id"] == job
    caller.json("jobs", "cancel", retried["id"])
    caller.json("jobs", "wait", retried["id"], code=1)
    unsure = caller.run("jobs", "delete", job)
    assert (unsure.exit_code, "say --yes" in unsure.stderr) == (2, True)
    assert caller.json("jobs", "delete", job, "--yes") == [{"id": job, "state": "erased"}]
    assert caller.run("jobs", "show", job).exit_code == 3


def test_a_finished_job_is_judged_again_and_the_same_bytes_are_not_where_that_is_asked_for(caller: Caller) -> None:
    video = str(caller.video())
    (first,) = caller.json("jobs", "submit", video, "--wait", "--lane", "realtime")
    (again,) = caller.json("jobs", "rerun", first["job"]["id"], "--model", "styleflow@default")
    assert again["parent_job_id"] == first["job"]["id"]
    (copied,) = caller.json("jobs", "submit", video, "--dedupe", "reuse", "--policy", "default")
    assert (copied["job"]["dedupe"], copied["job"]["policy"]) == ("reuse", "default")


def test_what_is_refused_for_one_keeps_no_other_from_being_done(caller: Caller) -> None:
    (line,) = caller.json("jobs", "submit", str(caller.video(seconds=20)))
    done = caller.run("jobs", "cancel", "job_absent", line["job"]["id"])
    assert done.exit_code == 3
    assert line["job"]["id"] in done.stdout
    assert "job_absent: not_found" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("jobs", "show", "job_absent"), 3, "not_found: "),
        (("jobs", "list", "--since", "yesterday"), 2, "is no moment"),
        (("jobs", "list", "--tag", "politics"), 2, "--tag takes NAME=VALUE"),
        (("jobs", "submit"), 2, "nothing to submit"),
        (("jobs", "submit", "--from", "/absent"), 2, "the list /absent cannot be read"),
        (("jobs", "submit", "https://a.test/x", "--template", "/absent"), 2, "the template /absent cannot be used"),
        (("jobs", "submit", "https://a.test/x", "--model", "nobody@9"), 2, "unknown_model: "),
        (("jobs", "submit", "https://a.test/x", "https://a.test/y", "--client-ref", "x"), 2, "names one video"),
        (("jobs", "submit", "https://a.test/x", "--fail-on", "weak"), 2, "go with --wait"),
        (("jobs", "retry", "job_absent"), 3, "not_found"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_a_code(
    caller: Caller, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = caller.run(*arguments)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_a_refusal_names_the_request(caller: Caller) -> None:
    assert "(request " in caller.run("jobs", "show", "job_absent").stderr


def test_a_wrong_key_and_a_missing_scope_are_code_four(newcomer: Callable[..., Caller]) -> None:
    reader = newcomer(scopes={"jobs:read"})
    done = reader.run("jobs", "submit", "https://media.test/a.mp4", "https://media.test/b.mp4", "--parallel", "1")
    assert (done.exit_code, "forbidden_scope" in done.stderr) == (4, True)
    assert "1 not tried" in done.stderr, "what no source can get past is not tried with every one"
    assert reader.run("jobs", "list", STYLEFLOW_API_KEY="sfk_live_wrong").exit_code == 4
    assert reader.run("jobs", "list", STYLEFLOW_API_KEY="").exit_code == 4


def test_a_service_that_is_away_is_code_five(caller: Caller) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    done = caller.run("jobs", "list", "--url", away)
    assert (done.exit_code, away in done.stderr) == (5, True)
    journal = caller.home / "journal"
    video = str(caller.video())
    done = caller.run("jobs", "submit", video, "--journal", str(journal), "--url", away)
    assert done.exit_code == 5
    assert len(journal_lines(journal)) == 1, "it was noted before anything was sent"


def test_members_without_an_option_come_from_a_template(caller: Caller) -> None:
    template = caller.home / "template.json"
    template.write_text(json.dumps({"options": {"sampling": {"clips": 3}}, "tags": {"a": "1", "b": "2"}}))
    arguments = ("--template", str(template), "--tag", "b=3", "--metadata", "uploader=u_17", "--client-ref", "post-1")
    (line,) = caller.json("jobs", "submit", str(caller.video()), *arguments)
    job = line["job"]
    assert job["options"] == {"sampling": {"clips": 3}}
    assert (job["tags"], job["metadata"], job["client_ref"]) == (
        {"a": "1", "b": "3"},
        {"uploader": "u_17"},
        "post-1",
    )


def test_ctrl_c_ends_the_wait_at_once(caller: Caller) -> None:
    command = [*COMMAND, "jobs", "submit", str(caller.video(seconds=30)), "--wait"]
    run = subprocess.Popen(
        command, env={**os.environ, **caller.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    eventually(lambda: len(caller.json("jobs", "list")) == 1)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=10)
    assert (run.returncode, told) == (130, "")
    (job,) = caller.json("jobs", "list")
    assert job["state"] in ("queued", "running"), "the job goes on without its watcher"
    caller.json("jobs", "cancel", job["id"])
