"""Evidence as pages, lines and tables; clips and segments."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pyarrow import BufferReader, parquet, string, total_allocated_bytes
from sqlalchemy import text

from api import evidence
from api.evidence import FRAME_COLUMNS
from api.row_streams import as_csv, as_parquet, ndjson
from styleflow.exports.columns import Column, Kind
from styleflow.report import ClipScore, FaceTrack, Outcome, Verdict
from tests.api.conftest import Tenant, make_report, make_track

NDJSON, CSV = {"Accept": "application/x-ndjson"}, {"Accept": "text/csv"}
PARQUET = {"Accept": "application/vnd.apache.parquet"}


@pytest.fixture
def job(tenant: Tenant) -> str:
    job = tenant.post_job()
    tenant.succeed(job["id"], make_report(tracks=(make_track("trk_1", 2500), make_track("trk_2", 25))))
    return f"/v1/jobs/{job['id']}"


def scored_track(scores: list[float | None], track_id: str = "trk_1") -> FaceTrack:
    track = make_track(track_id, len(scores), scored=True)
    return replace(track, frames=replace(track.frames, score=tuple(scores)))


def scored_job(tenant: Tenant, *tracks: FaceTrack) -> str:
    job = tenant.post_job()["id"]
    report = make_report(Outcome.SCORED, None, probability=0.75, verdict=Verdict.SUSPICIOUS, tracks=tracks)
    tenant.succeed(job, report)
    return f"/v1/jobs/{job}"


def pages(client: httpx.Client, address: str | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while address:
        answer = client.get(address)
        rows += answer.json()["data"]
        address = answer.links["next"]["url"] if "Link" in answer.headers else None
    return rows


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert answer.headers["Vary"] == "Accept"
    return [json.loads(line) for line in answer.text.splitlines()]


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.mark.parametrize("path", ["frames", "clips", "tracks"])
def test_lines_are_the_rows_of_all_pages(client: httpx.Client, job: str, path: str) -> None:
    limit = "" if path == "tracks" else "?limit=1000"
    assert lines(client.get(f"{job}/{path}", headers=NDJSON)) == pages(client, f"{job}/{path}{limit}")


def test_a_table_of_frames_has_a_column_for_each_number(client: httpx.Client, job: str) -> None:
    answer = client.get(f"{job}/frames", headers=CSV)
    rows = table(answer)
    assert list(rows[0]) == [column.name for column in FRAME_COLUMNS]
    assert len(rows) == 2525
    assert "\r\n" in answer.text
    third = {name: rows[3][name] for name in ("track_id", "frame_index", "t_ms", "left", "right", "flow_fine", "score")}
    assert third == {
        "track_id": "trk_1",
        "frame_index": "3",
        "t_ms": "120",
        "left": "3.0",
        "right": "103.0",
        "flow_fine": "3.0",
        "score": "",
    }


def test_tables_of_clips_and_tracks(client: httpx.Client, job: str) -> None:
    clips = table(client.get(f"{job}/clips", headers=CSV))
    assert [(row["track_id"], row["end_ms"], row["logit"]) for row in clips] == [
        ("trk_1", "1280", ""),
        ("trk_2", "1280", ""),
    ]
    tracks = table(client.get(f"{job}/tracks", headers=CSV))
    assert [(row["track_id"], row["frame_count"]) for row in tracks] == [("trk_1", "2500"), ("trk_2", "25")]


def test_filters_hold_for_every_form(client: httpx.Client, job: str) -> None:
    wanted = {"track_id": "trk_2", "from_ms": 200, "to_ms": 400}
    assert [row["t_ms"] for row in lines(client.get(f"{job}/frames", params=wanted, headers=NDJSON))] == [
        *range(200, 401, 40)
    ]
    nothing = client.get(f"{job}/frames", params={"from_ms": 900_000}, headers=CSV)
    assert nothing.text == ",".join(column.name for column in FRAME_COLUMNS) + "\r\n"
    assert client.get(f"{job}/frames", params={"track_id": "trk_9"}, headers=CSV).status_code == 404


@pytest.mark.parametrize("path", ["frames", "clips", "tracks"])
def test_parquet_has_the_rows_and_columns_of_the_table_with_types(tenant: Tenant, path: str) -> None:
    job = scored_job(tenant, make_track("trk_1", 40, scored=True), scored_track([None, 0.25], "trk_2"))
    rows = table(tenant.client.get(f"{job}/{path}", headers=CSV))
    answer = tenant.client.get(f"{job}/{path}", headers=PARQUET)

    assert (answer.headers["Content-Type"], answer.headers["Vary"]) == (PARQUET["Accept"], "Accept")
    found = parquet.read_table(BufferReader(answer.content))
    assert found.column_names == list(rows[0])
    assert found.schema.field("track_id").type == string()
    cells = [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in found.to_pylist()]
    assert cells == rows


def test_an_empty_list_in_parquet_has_its_columns(client: httpx.Client, job: str) -> None:
    answer = client.get(f"{job}/frames", params={"from_ms": 900_000}, headers=PARQUET)
    found = parquet.read_table(BufferReader(answer.content))
    assert (found.num_rows, found.column_names) == (0, [column.name for column in FRAME_COLUMNS])


def test_tracks_are_paged_without_gap(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    tenant.succeed(job, make_report(tracks=tuple(make_track(f"trk_{number}", 3) for number in range(20))))
    address = f"/v1/jobs/{job}/tracks"

    rows = pages(tenant.client, f"{address}?limit=6")
    assert [row["track_id"] for row in rows] == [f"trk_{number}" for number in range(20)]
    whole = tenant.client.get(address).json()
    assert (whole["data"], whole["has_more"]) == (rows, False)
    assert lines(tenant.client.get(address, headers=NDJSON)) == rows
    cursor = tenant.client.get(f"{address}?limit=6").json()["next_cursor"]
    assert tenant.client.get(f"/v1/jobs/{job}/clips?cursor={cursor}").json()["code"] == "cursor_mismatch"


@pytest.mark.parametrize("path", ["tracks", "clips"])
def test_tracks_that_went_while_they_were_read_break_the_list_off(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    job = tenant.post_job()["id"]
    tenant.succeed(job, make_report(tracks=tuple(make_track(f"trk_{number}", 3) for number in range(3))))
    monkeypatch.setattr("api.evidence.TRACKS_AT_ONCE", 2)
    real = evidence.read_tracks

    def erased_after(*arguments: Any) -> Any:
        found = real(*arguments)
        with tenant.running.database.transaction() as session:
            session.execute(text("delete from tracks where job_id = :job"), {"job": job})
        return found

    monkeypatch.setattr("api.evidence.read_tracks", erased_after)
    with pytest.raises(httpx.RemoteProtocolError):
        tenant.client.get(f"/v1/jobs/{job}/{path}", headers=NDJSON)


@pytest.mark.parametrize("path", ["frames", "clips", "tracks"])
@pytest.mark.parametrize("parameter", ["limit=5", "cursor=abc"])
def test_pages_and_whole_lists_do_not_mix(client: httpx.Client, job: str, path: str, parameter: str) -> None:
    answer = client.get(f"{job}/{path}?{parameter}", headers=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["pointer"] == f"/{parameter.partition('=')[0]}"


@pytest.mark.parametrize("path", ["frames", "clips", "tracks"])
def test_what_is_not_written_here_is_406_and_says_what_is(client: httpx.Client, job: str, path: str) -> None:
    answer = client.get(f"{job}/{path}", headers={"Accept": "application/vnd.ms-excel"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "text/csv" in answer.json()["detail"]


def test_a_list_whose_evidence_went_while_it_was_read_breaks_off(tenant: Tenant, job: str) -> None:
    identity = job.rpartition("/")[2]
    with tenant.running.database.transaction() as session:
        wiped = "update tracks set time_seconds = time_seconds, score = '{}', frame_index = '{}' where job_id = :job"
        session.execute(text(wiped), {"job": identity})
    with pytest.raises(httpx.RemoteProtocolError):
        tenant.client.get(f"{job}/frames", headers=NDJSON)


def test_parquet_is_written_in_the_memory_of_a_row_group() -> None:
    columns = [Column("a", Kind.INTEGER), Column("b", Kind.TEXT)]
    pieces = ([{"a": piece * 1_000 + row, "b": f"{piece}-{row}"} for row in range(1_000)] for piece in range(200))
    before, chunks, peak, data = total_allocated_bytes(), 0, 0, bytearray()
    for chunk in as_parquet(pieces, columns, lambda row: list(row.values())):
        chunks, peak = chunks + 1, max(peak, total_allocated_bytes() - before)
        data += chunk
    assert chunks > 10, "it is sent while it is written"
    assert peak < 4 << 20
    assert parquet.read_table(BufferReader(bytes(data)))["a"].to_pylist() == list(range(200_000))


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_long_lists_are_written_in_the_memory_of_a_piece(form: str) -> None:
    def pieces() -> Any:
        for piece in range(100):
            yield ({"a": piece * 1_000 + row, "b": None} for row in range(1_000))

    tracemalloc.start()
    chunks = ndjson(pieces()) if form == "ndjson" else as_csv(pieces(), ("a", "b"), lambda row: list(row.values()))
    count = sum(chunk.count(b"\n") for chunk in chunks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000 + (form == "csv")
    assert peak < 1 << 20, "the whole list is more than that"


def many_clips(count: int) -> FaceTrack:
    clips = tuple(
        ClipScore(
            index=number,
            start_seconds=1.28 * number,
            end_seconds=1.28 * (number + 1),
            first_frame=32 * number,
            last_frame=32 * number + 31,
            logit=None,
            probability=None,
        )
        for number in range(count)
    )
    return replace(make_track("trk_1"), clips=clips)


def test_clips_are_paged_without_gap_and_filtered_by_what_they_touch(tenant: Tenant) -> None:
    job = tenant.post_job()["id"]
    tenant.succeed(job, make_report(tracks=(many_clips(20), make_track("trk_2"))))
    address = f"/v1/jobs/{job}/clips"
    rows = pages(tenant.client, f"{address}?limit=6")
    assert [(row["track_id"], row["index"]) for row in rows] == [*(("trk_1", n) for n in range(20)), ("trk_2", 0)]
    touched = tenant.client.get(address, params={"track_id": "trk_1", "from_ms": 2000, "to_ms": 4000}).json()["data"]
    assert [row["index"] for row in touched] == [1, 2, 3]
    cursor = tenant.client.get(address, params={"limit": 6}).json()["next_cursor"]
    other = tenant.client.get(address, params={"limit": 6, "cursor": cursor, "track_id": "trk_1"})
    assert other.json()["code"] == "cursor_mismatch"
    frames = tenant.client.get(f"/v1/jobs/{job}/frames", params={"cursor": cursor})
    assert frames.json()["code"] == "cursor_mismatch", "a cursor of one list is none of another"
    assert tenant.client.get(address, params={"track_id": "trk_9"}).status_code == 404


def test_segments_of_a_scored_video_by_the_rule_that_was_asked_for(tenant: Tenant) -> None:
    first = scored_track([0.1] * 5 + [0.8] * 10 + [0.1] * 5 + [0.9] * 2)
    job = scored_job(tenant, first, scored_track([0.2] * 8, "trk_2"))
    answer = tenant.client.get(f"{job}/segments", params={"min_score": 0.7, "min_ms": 100, "gap_ms": 40}).json()
    assert answer["rule"] == {"enter": 0.7, "leave": pytest.approx(0.6), "min_ms": 100, "gap_ms": 40}
    assert [(part["track_id"], part["start_ms"], part["end_ms"]) for part in answer["data"]] == [("trk_1", 200, 560)]
    assert answer["data"][0]["peak"] == pytest.approx(0.8)
    short = tenant.client.get(f"{job}/segments", params={"min_score": 0.7, "min_ms": 0, "gap_ms": 40}).json()["data"]
    assert [part["start_ms"] for part in short] == [200, 800]
    assert tenant.client.get(f"{job}/segments", params={"track_id": "trk_2"}).json()["data"] == []


def test_the_policys_threshold_is_where_segments_begin_unless_told_otherwise(tenant: Tenant) -> None:
    answer = tenant.client.get(f"{scored_job(tenant, scored_track([0.8] * 20))}/segments").json()
    assert (answer["rule"]["enter"], answer["rule"]["leave"]) == (0.6, 0.5)
    assert len(answer["data"]) == 1


def test_a_video_without_scores_has_no_segments(client: httpx.Client, job: str) -> None:
    answer = client.get(f"{job}/segments", params={"min_score": 0})
    assert (answer.status_code, answer.json()["rule"], answer.json()["data"]) == (200, None, [])


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"min_score": "1.5"}, "/min_score"),
        ({"min_score": "nan"}, "/min_score"),
        ({"min_score": "high"}, "/min_score"),
        ({"min_score": "0.5", "leave_score": "0.6"}, "/leave_score"),
        ({"min_ms": "-1"}, "/min_ms"),
        ({"gap_ms": "99999999999"}, "/gap_ms"),
        ({"limit": "5"}, "/limit"),
    ],
)
def test_a_rule_without_sense_is_refused(tenant: Tenant, parameters: dict[str, str], pointer: str) -> None:
    job = scored_job(tenant, scored_track([0.8] * 5))
    answer = tenant.client.get(f"{job}/segments", params=parameters)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_segments_go_with_the_frames_that_they_are_made_of(tenant: Tenant) -> None:
    job = scored_job(tenant, scored_track([0.8] * 5))
    identity = job.rpartition("/")[2]
    with tenant.running.database.transaction() as session:
        session.execute(text("update results set report_key = null where job_id = :job"), {"job": identity})
    assert tenant.client.get(f"{job}/segments").json()["code"] == "erased"
    assert tenant.client.get(f"{job}/segments", params={"track_id": "trk_9"}).status_code == 404
