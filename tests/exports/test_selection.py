"""What the rows say, kind by kind and filter by filter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleflow.errors import InvalidRequest
from styleflow.exports.columns import COLUMNS, Kind, chosen
from styleflow.exports.state import Format, Rows
from styleflow.policies import queries, relabeling
from styleflow.report import InconclusiveReason, NotApplicableReason, Outcome, Thresholds, VideoReport
from tests.exports.copyroom import STRETCHES, Copyroom, spotted
from tests.jobs.desk import AGREED, PROJECT
from tests.jobs.reports import scored_report, track


def unscored(outcome: Outcome, reason: str) -> VideoReport:
    nothing: dict[str, Any] = {"score": None, "probability": None, "verdict": None, "thresholds": None, "tracks": ()}
    return replace(scored_report(), outcome=outcome, reason=reason, **nothing)


def test_a_relabelled_job_cites_the_policy_that_its_word_is_by(room: Copyroom) -> None:
    job = room.succeed()
    thresholds = Thresholds(policy="strict", weak=0.1, suspicious=0.2, strong=0.3)
    policy = room.desk.do(queries.put, PROJECT, "strict", thresholds, "", None)
    room.desk.do(relabeling.apply, policy, {job: 0.75})

    [row] = room.exported(rows=Rows.JOBS)

    assert (row["verdict"], row["policy"], row["probability"]) == ("strong", "strict@1", 0.75)


def test_a_job_says_what_was_found_by_what_and_in_what(room: Copyroom) -> None:
    job = room.succeed(client_ref="post-1", tags={"queue": "a"}, metadata={"n": [1, None]})
    [row] = room.exported(rows=Rows.JOBS)

    assert row["job_id"] == job
    assert (row["state"], row["outcome"], row["verdict"]) == ("succeeded", "scored", "suspicious")
    assert (row["score"], row["probability"], row["policy"]) == (1.25, 0.75, "default")
    assert (row["client_ref"], row["tags"], row["metadata"]) == ("post-1", {"queue": "a"}, {"n": [1, None]})
    assert (row["media_sha256"], row["media_width"], row["media_height"]) == ("ab" * 32, 640, 480)
    assert (row["pack"], row["pack_sha256"], row["device"]) == ("styleflow", "cd" * 32, "cpu")
    assert (row["source_type"], row["source"]) == ("s3", "s3://videos/a.mp4")
    assert row["created_at"].endswith("Z")
    assert (row["error_code"], row["batch_id"]) == (None, None)


def test_a_failed_job_says_why(room: Copyroom) -> None:
    room.fail()
    [row] = room.exported(rows=Rows.JOBS, fields=["error_code", "score", "state"])

    assert row == {"error_code": "corrupt_media", "score": None, "state": "failed"}
    assert list(row) == ["error_code", "score", "state"], "in the order that was asked for"


REPORTS = {
    Outcome.SCORED: scored_report(),
    Outcome.NOT_APPLICABLE: unscored(Outcome.NOT_APPLICABLE, NotApplicableReason.NO_FACE),
    Outcome.INCONCLUSIVE: unscored(Outcome.INCONCLUSIVE, InconclusiveReason.COVERAGE_TOO_THIN),
}
JUDGING = ("score", "probability", "verdict", "policy")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*Outcome, None]), min_size=1, max_size=6), st.sampled_from(list(Format)))
def test_a_number_that_judges_is_there_exactly_when_the_outcome_is_scored(
    room: Copyroom, outcomes: list[Outcome | None], format: Format
) -> None:
    """Null is not 0: neither in a cell, nor in a member, nor in a column."""
    room.desk.sql("delete from exports")
    room.desk.sql("delete from jobs")
    for outcome in outcomes:
        if outcome is None:
            room.fail()
        else:
            score = 0.0 if outcome is Outcome.SCORED else None
            room.succeed(replace(REPORTS[outcome], score=score, probability=score))
    nothing = "" if format is Format.CSV else None

    rows = room.exported(format=format, rows=Rows.JOBS)

    assert [row["outcome"] or None for row in rows] == outcomes
    for row in rows:
        scored = row["outcome"] == Outcome.SCORED
        assert [row[name] != nothing for name in JUDGING] == [scored] * len(JUDGING)
        assert not scored or float(row["score"]) == float(row["probability"]) == 0.0


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"a", "b", "c"}),
    ({"state": "failed"}, {"b"}),
    ({"outcome": "scored"}, {"a"}),
    ({"verdict": "suspicious"}, {"a"}),
    ({"verdict": "strong"}, set()),
    ({"client_ref": "c"}, {"c"}),
    ({"lane": "realtime"}, {"c"}),
    ({"tag": ["queue", "x"]}, {"a", "b"}),
    ({"tag": ["queue", "x"], "state": "failed"}, {"b"}),
    ({"tag": ["q'; drop table jobs; --", "%s"]}, set()),
    ({"created_after": "2026-01-02T00:00:00Z"}, {"b", "c"}),
    ({"created_before": "2026-01-02T00:00:00Z"}, {"a"}),
    ({"created_after": "2026-01-02T00:00:00Z", "created_before": "2026-01-03T12:00:00Z"}, {"b"}),
]


def test_each_filter_leaves_the_jobs_that_fit(room: Copyroom) -> None:
    jobs = {
        "a": room.succeed(client_ref="a", tags={"queue": "x"}),
        "b": room.fail(client_ref="b", tags={"queue": "x", "more": "y"}),
        "c": room.desk.submit(client_ref="c", lane="realtime"),
    }
    for day, job in enumerate(jobs.values(), start=1):
        room.desk.sql(f"update jobs set created_at = '2026-01-0{day} 12:00+00' where id = :id", id=job)
    room.desk.sql("update jobs set created_at = '2026-01-01 12:00+00' where client_ref = 'a'")
    for query, wanted in FILTERS:
        found = {row["client_ref"] for row in room.exported(rows=Rows.JOBS, query=query)}
        assert found == wanted, query


def test_jobs_of_one_batch(room: Copyroom) -> None:
    jobs = [room.desk.submit() for _ in range(3)]
    room.desk.sql("update jobs set batch_id = 'bat_1' where id = :id", id=jobs[1])

    assert [row["job_id"] for row in room.exported(query={"batch_id": "bat_1"})] == [jobs[1]]


def test_tracks_clips_and_frames_are_rows_of_their_own(room: Copyroom) -> None:
    report = replace(scored_report(), tracks=(track(3), replace(track(2), track_id="trk_1")))
    job = room.succeed(report, client_ref="post-1")

    tracks = room.exported(rows=Rows.TRACKS)
    assert [(row["job_id"], row["track_id"], row["frame_count"], row["clip_count"]) for row in tracks] == [
        (job, "trk_0", 3, 1),
        (job, "trk_1", 2, 1),
    ]
    assert (tracks[0]["end_ms"], tracks[0]["score"], tracks[0]["probability"]) == (120, 1.25, 0.75)
    clips = room.exported(rows=Rows.CLIPS)
    assert [(row["track_id"], row["end_ms"], row["last_frame"], row["logit"]) for row in clips] == [
        ("trk_0", 1280, 31, 1.25),
        ("trk_1", 1280, 31, 1.25),
    ]
    frames = room.exported(rows=Rows.FRAMES)
    assert [(row["track_id"], row["frame_index"], row["t_ms"], row["left"], row["score"]) for row in frames] == [
        ("trk_0", 0, 0, 0.0, 0.5),
        ("trk_0", 1, 40, 1.0, 0.5),
        ("trk_0", 2, 80, 2.0, 0.5),
        ("trk_1", 0, 0, 0.0, 0.5),
        ("trk_1", 1, 40, 1.0, 0.5),
    ]
    assert {row["attention"] for row in frames} == {None}
    assert room.exported(rows=Rows.FRAMES, fields=["score", "job_id"])[0] == {"score": 0.5, "job_id": job}


@pytest.mark.parametrize("rows", [Rows.TRACKS, Rows.CLIPS, Rows.FRAMES])
def test_evidence_is_read_in_pieces_without_gap_or_repetition(
    room: Copyroom, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Jobs of the same moment, and pieces that end in the middle of a job."""
    monkeypatch.setattr("styleflow.exports.selection.TRACKS_AT_ONCE", 4)
    monkeypatch.setattr("styleflow.exports.selection.FRAMES_AT_ONCE", 5)
    report = replace(scored_report(), tracks=tuple(replace(track(2), track_id=f"trk_{n}") for n in range(3)))
    jobs = sorted(room.succeed(report) for _ in range(4))
    room.desk.sql("update jobs set created_at = '2026-01-01 12:00+00'")
    each = {Rows.TRACKS: 1, Rows.CLIPS: 1, Rows.FRAMES: 2}[rows]

    export = room.create(rows=rows)
    room.write(file_rows=4)

    assert len(room.files(export)) > 1
    assert [(row["job_id"], row["track_id"]) for row in room.rows(export)] == [
        (job, f"trk_{number}") for job in jobs for number in range(3) for _ in range(each)
    ]


def test_frames_that_are_past_their_time_leave_no_rows_and_their_tracks_stay(room: Copyroom) -> None:
    room.succeed()
    room.desk.sql(
        "update tracks set frame_index = '{}', time_seconds = '{}', box = '{}', detection_confidence = '{}',"
        " score = '{}', flow_coarse = '{}', flow_middle = '{}', flow_fine = '{}', attention = '{}'"
    )

    assert room.exported(rows=Rows.FRAMES) == []
    assert len(room.exported(rows=Rows.TRACKS)) == len(room.exported(rows=Rows.CLIPS)) == 1


@pytest.mark.parametrize("format", list(Format))
def test_segments_are_rows_of_their_own_in_every_form(room: Copyroom, format: Format) -> None:
    job = room.succeed(STRETCHES)
    room.succeed(REPORTS[Outcome.INCONCLUSIVE])
    room.fail()

    rows = room.exported(format=format, rows=Rows.SEGMENTS)

    assert [(row["job_id"], row["track_id"], row["policy"]) for row in rows] == [(job, "trk_0", "default")] * 2
    assert [(int(row["start_ms"]), int(row["end_ms"])) for row in rows] == [(0, 360), (1200, 1720)]
    assert [float(row["peak"]) for row in rows] == pytest.approx([0.9, 0.75])
    assert [float(row["mean"]) for row in rows] == pytest.approx([0.9, (0.55 * 5 + 0.75 * 5 + 0.65 * 3) / 13])
    assert {(float(row["enter"]), float(row["leave"])) for row in rows} == {(0.6, 0.5)}
    [short] = {tuple(row) for row in room.exported(format=format, rows=Rows.SEGMENTS, fields=["peak", "job_id"])}
    assert short == ("peak", "job_id")


def test_segments_follow_the_policy_that_was_put_on_the_result(room: Copyroom) -> None:
    job = room.succeed(STRETCHES)
    thresholds = Thresholds(policy="strict", weak=0.5, suspicious=0.8, strong=0.9)
    policy = room.desk.do(queries.put, PROJECT, "strict", thresholds, "", None)
    room.desk.do(relabeling.apply, policy, {job: 0.75})

    [row] = room.exported(rows=Rows.SEGMENTS)

    assert (row["start_ms"], row["end_ms"], row["enter"], row["policy"]) == (0, 360, 0.8, "strict@1")


def test_segments_of_many_jobs_are_read_in_pieces_without_gap_or_repetition(
    room: Copyroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pieces hold no segment at all."""
    monkeypatch.setattr("styleflow.exports.selection.TRACKS_AT_ONCE", 2)
    jobs = [room.succeed(spotted(*[score] * 10)) for score in (0.9, 0.1, 0.1, 0.1, 0.7)]

    assert [row["job_id"] for row in room.exported(rows=Rows.SEGMENTS)] == [jobs[0], jobs[4]]


def test_frames_that_are_past_their_time_leave_no_segments(room: Copyroom) -> None:
    job = room.succeed(STRETCHES, retention=AGREED)
    room.desk.sql("update jobs set frames_until = now() - interval '1 second' where id = :id", id=job)
    room.desk.sweep("frames")

    assert room.exported(rows=Rows.SEGMENTS) == []


def test_parquet_and_lines_say_the_same(room: Copyroom) -> None:
    room.succeed(metadata={"deep": {"er": "ü"}})
    [line] = room.exported(format=Format.JSONL)
    [cell] = room.exported(format=Format.PARQUET)

    for column in COLUMNS[Rows.JOBS]:
        said = cell[column.name]
        if column.kind is Kind.JSON:
            said = json.loads(said)
        elif column.kind is Kind.MOMENT and said is not None:
            said = said.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert said == line[column.name], column


def test_columns_that_there_are_not_are_refused() -> None:
    for fields in ([], ["job_id", "job_id"], ["frames"]):
        with pytest.raises(InvalidRequest, match="/fields"):
            chosen(Rows.JOBS, fields)


def test_every_column_has_its_place_in_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs/api/exports.md").read_text()
    for rows, columns in COLUMNS.items():
        assert f"| `{rows}` | {', '.join(f'`{column.name}`' for column in columns)} |" in page
