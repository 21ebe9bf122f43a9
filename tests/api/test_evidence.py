"""A job's result, tracks, frames and report, as a caller reads them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.frame_slices import Span, next_slices
from styleflow.report import Outcome, Verdict, report_to_json
from tests.api.conftest import Tenant, make_report, make_track


@pytest.fixture
def job(tenant: Tenant) -> str:
    job = tenant.post_job()
    tenant.succeed(job["id"], make_report(tracks=(make_track("trk_1", 40), make_track("trk_2", 25))))
    return f"/v1/jobs/{job['id']}"


def test_a_result_without_calibration_has_reasons_and_no_number(client: httpx.Client, job: str) -> None:
    answer = client.get(f"{job}/result")
    result = answer.json()
    assert (result["outcome"], result["reason"]) == ("inconclusive", "uncalibrated_weights")
    assert (result["score"], result["probability"], result["verdict"]) == (None, None, None)
    assert result["coverage"]["media_ms"] == 1600
    assert [track["track_id"] for track in result["tracks"]] == ["trk_1", "trk_2"]
    assert answer.headers["Cache-Control"] == "private, no-cache"
    again = client.get(f"{job}/result", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_scored_result_names_score_probability_verdict_and_thresholds(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    tenant.succeed(job, make_report(Outcome.SCORED, None, probability=0.75, verdict=Verdict.SUSPICIOUS))
    result = tenant.client.get(f"/v1/jobs/{job}/result").json()
    assert (result["score"], result["probability"], result["verdict"]) == (1.5, 0.75, "suspicious")
    assert result["thresholds"]["suspicious"] == 0.6


def test_tracks_come_with_their_clips_in_milliseconds(client: httpx.Client, job: str) -> None:
    tracks = client.get(f"{job}/tracks").json()["data"]
    assert [track["track_id"] for track in tracks] == ["trk_1", "trk_2"]
    assert tracks[0]["clips"][0]["end_ms"] == 1280
    assert client.get(f"{job}/tracks/trk_2").json() == tracks[1]
    assert client.get(f"{job}/tracks/trk_9").json()["code"] == "not_found"


def test_frames_are_paged_track_by_track_without_gap_or_repetition(client: httpx.Client, job: str) -> None:
    rows: list[dict[str, Any]] = []
    address: str | None = f"{job}/frames?limit=7"
    while address:
        answer = client.get(address)
        rows += answer.json()["data"]
        address = answer.links["next"]["url"] if "Link" in answer.headers else None
    assert [(row["track_id"], row["frame_index"]) for row in rows] == [
        *(("trk_1", number) for number in range(40)),
        *(("trk_2", number) for number in range(25)),
    ]
    assert rows[3]["box"] == [3.0, 2.0, 103.0, 102.0]
    assert rows[3]["t_ms"] == 120
    assert rows[3]["flow"] == {"coarse": 1.0, "middle": 2.0, "fine": 3.0}
    assert rows[0]["flow"]["coarse"] is None
    assert rows[0]["score"] is None


def test_frames_of_one_track_and_interval(client: httpx.Client, job: str) -> None:
    rows = client.get(f"{job}/frames", params={"track_id": "trk_2", "from_ms": 200, "to_ms": 400}).json()["data"]
    assert [row["t_ms"] for row in rows] == [200, 240, 280, 320, 360, 400]
    assert {row["track_id"] for row in rows} == {"trk_2"}
    assert client.get(f"{job}/frames", params={"from_ms": 90000}).json()["data"] == []
    assert client.get(f"{job}/frames", params={"track_id": "trk_9"}).status_code == 404
    assert client.get(f"{job}/frames", params={"form_ms": 1}).status_code == 422


def test_the_whole_report_is_what_the_worker_wrote(client: httpx.Client, job: str) -> None:
    expected = report_to_json(make_report(tracks=(make_track("trk_1", 40), make_track("trk_2", 25))))
    assert client.get(f"{job}/report").json() == expected


def test_there_is_no_result_before_the_job_succeeded(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    for path in ("result", "tracks", "tracks/trk_1", "clips", "segments", "frames", "report"):
        answer = tenant.client.get(f"/v1/jobs/{job}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "result_not_ready")
        assert answer.json()["retryable"]


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6).map(
    lambda pairs: [Span(f"trk_{n}", n, min(pair), max(pair)) for n, pair in enumerate(pairs)]
)


@given(spans, st.integers(1, 40))
def test_pages_of_slices_cover_every_row_once_in_order(wanted: list[Span], limit: int) -> None:
    rows: list[tuple[str, int]] = []
    start: tuple[int, int] | None = (0, 0)
    while start is not None:
        slices, start = next_slices(wanted, start, limit)
        page = [(part.track_id, row) for part in slices for row in range(part.first, part.end)]
        assert len(page) <= limit
        assert start is None or len(page) == limit
        rows += page
    assert rows == [(span.track_id, row) for span in wanted for row in range(span.first, span.end)]
