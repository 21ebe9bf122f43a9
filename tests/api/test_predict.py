"""The original server's `/healthcheck` and `/predict`, as its callers use them."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from api.predict import answer_of, read_source
from styleflow.errors import InvalidRequest, MalformedJson, SourceUnavailable
from styleflow.jobs import progress, queries, workers
from styleflow.report import NotApplicableReason, Outcome, Verdict, VideoReport
from styleflow.settings import Settings
from styleflow.tables import JobRow, ProjectRow
from tests.api.conftest import Office, Running, Tenant, make_report, serve

BODY = '{"file_path": "https://www.evalai.org/ocasio.mp4"}'


@pytest.fixture(scope="module")
def compat(api_settings: Callable[..., Settings]) -> Iterator[Running]:
    with serve(api_settings(compat_predict=True, predict_wait_seconds=20)) as running:
        yield running


@pytest.fixture
def caller() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def waiting_job(running: Running, known: set[str]) -> str:
    """The job that the call in flight has made."""
    for _ in range(500):
        with running.database.transaction() as session:
            project = select(ProjectRow.id).where(ProjectRow.name == "compat").scalar_subquery()
            found = set(session.scalars(select(JobRow.id).where(JobRow.project_id == project)).all()) - known
        if found and running.app.state.services.waiting.waiting:
            return found.pop()
        threading.Event().wait(0.02)
    raise AssertionError("no job came")


def known_jobs(running: Running) -> set[str]:
    with running.database.transaction() as session:
        return set(session.scalars(select(JobRow.id)).all())


def settle(running: Running, job_id: str, report: VideoReport | None) -> None:
    if report is not None:
        Tenant("", "", httpx.Client(), running).succeed(job_id, report)
        return
    with running.database.transaction() as session:
        claim = queries.claim(session, worker="test", lease_seconds=60, job_id=job_id)
        session.execute(text("update jobs set max_attempts = 1 where id = :id"), {"id": job_id})
    assert claim is not None
    with running.database.transaction() as session:
        progress.fail(session, job_id, claim.token, SourceUnavailable("the host does not answer"))


def curl(*arguments: str) -> str:
    return subprocess.run(["curl", "-s", *arguments], capture_output=True, text=True, timeout=30, check=True).stdout


CASES = [
    (make_report(Outcome.SCORED, None, probability=0.91, verdict=Verdict.STRONG), 200, "FAKE", 0.91),
    (make_report(Outcome.SCORED, None, probability=0.7, verdict=Verdict.SUSPICIOUS), 200, "FAKE", 0.7),
    (make_report(Outcome.SCORED, None, probability=0.4, verdict=Verdict.WEAK), 200, "REAL", 0.4),
    (make_report(Outcome.NOT_APPLICABLE, NotApplicableReason.NO_FACE, tracks=()), 200, "NO_FACE", -1),
    (make_report(Outcome.NOT_APPLICABLE, NotApplicableReason.TOO_SHORT, tracks=()), 500, "too_short", None),
    (make_report(), 500, "uncalibrated_weights", None),
    (None, 500, "source_unavailable", None),
]


@pytest.mark.parametrize(("report", "status", "word", "number"), CASES)
def test_what_the_job_found_in_the_words_of_the_original(
    compat: Running,
    caller: ThreadPoolExecutor,
    report: VideoReport | None,
    status: int,
    word: str,
    number: float | None,
) -> None:
    known = known_jobs(compat)

    def call() -> httpx.Response:
        with compat.client() as client:
            return client.post("/predict", content=BODY, headers={"Content-Type": "application/x-www-form-urlencoded"})

    in_flight: Future[httpx.Response] = caller.submit(call)
    job = waiting_job(compat, known)
    settle(compat, job, report)
    answer = in_flight.result(timeout=20)
    body = answer.json()
    assert (answer.status_code, body["job_id"]) == (status, job)
    if status == 200:
        assert (body["prediction"], body["df_probability"]) == (word, number)
        assert not {"message", "msg", "error"} & body.keys(), "callers take any of these for a failure"
        for name in ("start_time", "end_time"):
            datetime.strptime(body[name], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    else:
        assert word in body["error"]
        assert "df_probability" not in body


def test_the_curl_lines_of_the_original_readme_work_as_they_stand(compat: Running, caller: ThreadPoolExecutor) -> None:
    known = known_jobs(compat)
    in_flight = caller.submit(curl, "-X", "POST", f"{compat.url}/predict", "--data", BODY)
    job = waiting_job(compat, known)
    with compat.database.transaction() as session:
        row = session.get_one(JobRow, job)
        assert (row.lane, row.source) == ("realtime", {"type": "url", "url": "https://www.evalai.org/ocasio.mp4"})
    settle(compat, job, CASES[0][0])
    assert '"prediction":"FAKE"' in in_flight.result(timeout=20)
    assert "healthy" in curl("-X", "GET", f"{compat.url}/healthcheck")


def test_a_job_that_takes_too_long_is_busy_and_goes_on(api_settings: Callable[..., Settings]) -> None:
    with serve(api_settings(compat_predict=True, predict_wait_seconds=0.2)) as running, running.client() as client:
        answer = client.post("/predict", content=BODY)
    assert (answer.status_code, answer.json()) == (503, {"message": "Server is too busy, please try again later"})
    assert answer.headers["Location"].startswith("/v1/jobs/job_")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_full_backlog_is_busy(api_settings: Callable[..., Settings]) -> None:
    with serve(api_settings(compat_predict=True, max_queued_jobs=-1)) as running, running.client() as client:
        answer = client.post("/predict", content=BODY)
    assert (answer.status_code, answer.json()) == (503, {"message": "Server is too busy, please try again later"})


def test_where_the_door_is_closed_a_key_is_needed(anonymous: httpx.Client, compat: Running) -> None:
    assert anonymous.post("/predict", content=BODY).json()["code"] == "unauthenticated"
    with compat.client("sfk_live_wrong") as client:
        assert client.post("/predict", content=BODY).status_code == 401, "a wrong key is not the same as none"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("https://127.0.0.1/a.mp4", 403),
        ("http://www.evalai.org/a.mp4", 403),
        ("s3://elsewhere/a.mp4", 403),
        ("upload:upl_none", 404),
        ("/etc/passwd", 422),
        ("file:///etc/passwd", 422),
        ("s3://", 422),
        ("s3://[abc/x", 403),
        ("https://[abc/x", 422),
        ("upload:\ud800", 422),
        ("\ud800", 422),
    ],
)
def test_an_address_that_is_not_served_is_refused(compat: Running, path: str, status: int) -> None:
    with compat.client() as client:
        answer = client.post("/predict", content=json.dumps({"file_path": path}))
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("raw", [b"", b"file_path=x", b"{", b"\xff"])
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        read_source(raw)


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"file_path": 1}', b'{"file_path": "https://a/", "num_frames": "x"}'])
def test_json_without_an_address_does_not_fit(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_source(raw)


def test_the_originals_other_members_are_accepted() -> None:
    source = read_source(b'{"file_path": "s3://b/k.mp4", "num_frames": 10, "max_frames": 50, "mode": "x"}')
    assert source.model_dump(exclude_none=True) == {"type": "s3", "bucket": "b", "key": "k.mp4"}


@pytest.mark.parametrize("key", ["a#1.mp4", "a?x=1", "a%20b.mp4", "a\tb", " a", "x//y", "ü/[z"])
def test_the_key_of_an_object_is_taken_as_it_stands(key: str) -> None:
    source = read_source(json.dumps({"file_path": f"s3://b/{key}"}).encode())
    assert source.model_dump(exclude_none=True) == {"type": "s3", "bucket": "b", "key": key}


@pytest.mark.parametrize("state", ["canceled", "expired"])
def test_a_job_that_never_ran_is_an_error(state: str) -> None:
    answer = answer_of(JobRow(id="job_1", state=state, error=None, outcome=None, reason=None))
    assert (answer.status, answer.body["error"].startswith(state)) == (500, True)


def test_health_needs_a_key_where_the_door_is_closed(office: Office, anonymous: httpx.Client, compat: Running) -> None:
    assert anonymous.get("/healthcheck").json()["code"] == "unauthenticated"
    assert office.tenant(scopes=("jobs:write",)).client.get("/healthcheck").json()["code"] == "forbidden_scope"
    assert "healthy" in office.tenant(scopes=("jobs:read",)).client.get("/healthcheck").json()
    with compat.client("sfk_live_wrong") as client:
        assert client.get("/healthcheck").status_code == 401


def test_health_depends_on_a_worker_that_was_heard_of(api_settings: Callable[..., Settings], database_url: str) -> None:
    with serve(api_settings(compat_predict=True, database_url=database_url)) as running, running.client() as client:
        assert (client.get("/healthcheck").status_code, client.get("/healthcheck").json()) == (503, {"healthy": False})
        with running.database.transaction() as session:
            workers.seen(session, "w1", lanes=["standard"], models=["tiny@1"], device="cpu")
        answer = client.get("/healthcheck")
        assert (answer.status_code, answer.json()) == (200, {"healthy": True, "model_version": "tiny@1"})
        with running.database.transaction() as session:
            session.execute(text("update workers set seen_at = now() - interval '61 seconds'"))
        assert client.get("/healthcheck").status_code == 503


def test_every_verdict_has_its_word() -> None:
    def word(verdict: str) -> Any:
        job = JobRow(id="j", state="succeeded", outcome="scored", reason=None, verdict=verdict, probability=0.5)
        return answer_of(job).body["prediction"]

    assert {verdict: word(verdict) for verdict in Verdict} == {
        "no_evidence": "REAL",
        "weak": "REAL",
        "suspicious": "FAKE",
        "strong": "FAKE",
    }
