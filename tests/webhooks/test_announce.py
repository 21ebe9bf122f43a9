from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from styleflow.database import Database
from styleflow.jobs import progress
from styleflow.report import NotApplicableReason, Outcome, Thresholds, VideoReport
from styleflow.tables import JobRow, ProjectRow
from styleflow.verdicts import under
from styleflow.webhook_tables import DeliveryRow, EventRow, WebhookEndpointRow
from styleflow.webhooks.announce import (
    MAX_BODY_BYTES,
    OPT_IN_TYPES,
    TYPES,
    announce,
    announce_about,
    event_body,
    wants,
)
from styleflow.webhooks.payload import as_sent
from tests.jobs.desk import AGREED, PROJECT, Desk
from tests.jobs.reports import scored_report
from tests.jobs.test_retention import ZERO

MOMENT = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def finished_job(**changes: Any) -> JobRow:
    values: dict[str, Any] = {
        "id": "job_1",
        "project_id": PROJECT,
        "state": "failed",
        "event_sequence": 3,
        "client_ref": "post-991",
        "tags": {"queue": "politics"},
        "finished_at": MOMENT,
        "error": {"code": "corrupt_media", "message": "It breaks off.", "retryable": False, "details": {"frames": 7}},
    }
    return JobRow(**{**values, **changes})


def subscribe(desk: Desk, identity: str, events: list[str], **changes: Any) -> None:
    values: dict[str, Any] = {"state": "active", "project_id": PROJECT, "url": "https://example.org", "description": ""}
    row = WebhookEndpointRow(id=identity, events=events, secret_encrypted=b"x", **{**values, **changes})
    desk.do(lambda session: session.add(row))


def told(desk: Desk, type: str) -> list[str]:
    with desk.database.transaction() as session:
        wanted = (
            select(DeliveryRow.endpoint_id)
            .join(EventRow, EventRow.id == DeliveryRow.event_id)
            .where(EventRow.type == type)
        )
        return sorted(session.scalars(wanted))


def test_the_body_is_the_documented_one_and_compact() -> None:
    assert event_body(finished_job(), "job.failed", MOMENT) == (
        '{"type":"job.failed","timestamp":"2026-11-20T12:00:00.250000Z","data":{"job_id":"job_1","client_ref":"post-991",'
        '"state":"failed","outcome":null,"reason":null,"verdict":null,"score":null,"probability":null,'
        '"error":{"code":"corrupt_media","message":"It breaks off."},"sequence":3,'
        '"links":{"self":"/v1/jobs/job_1","result":null},"finished_at":"2026-11-20T12:00:00.250000Z",'
        '"tags":{"queue":"politics"}}}'
    )


def test_a_body_stays_under_8_kb_by_leaving_the_tags_to_the_job() -> None:
    labels = {f"tag{number}": "ß" * 1000 for number in range(16)}
    job = finished_job(tags=labels, client_ref="漢" * 256, error={"code": "internal", "message": "漢" * 9000})

    body = event_body(job, "job.failed", MOMENT)

    data = json.loads(body)["data"]
    assert len(body.encode()) < MAX_BODY_BYTES
    assert (data["tags"], data["truncated"], data["client_ref"]) == ({}, True, "漢" * 256)


@pytest.mark.parametrize(
    ("patterns", "covers"),
    [
        (["*"], True),
        (["job.*"], True),
        (["job.failed"], True),
        (["batch.*", "job.failed"], True),
        (["job.succeeded"], False),
        (["batch.*"], False),
        (["job"], False),
        (["job.fail*"], False),
        ([], False),
    ],
)
def test_patterns_are_all_a_family_or_exact(patterns: list[str], covers: bool) -> None:
    assert wants(patterns, "job.failed") is covers


def test_the_stored_event_is_the_job_as_it_is_after_the_change(desk: Desk) -> None:
    held = desk.running(client_ref="post-1")
    desk.do(progress.succeed, held.job_id, held.token, scored_report(), "key")

    event, job = desk.events(held.job_id)[-1], desk.job(held.job_id)

    body = json.loads(event.body)
    assert (event.type, event.terminal, event.sequence, event.project_id) == ("job.succeeded", True, 3, PROJECT)
    assert (body["type"], body["data"]["state"], body["data"]["verdict"]) == (
        "job.succeeded",
        "succeeded",
        "suspicious",
    )
    assert (body["data"]["score"], body["data"]["probability"], body["data"]["sequence"]) == (1.25, 0.75, 3)
    assert body["data"]["links"]["result"] == f"/v1/jobs/{held.job_id}/result"
    assert datetime.fromisoformat(body["timestamp"]) == event.created_at
    assert datetime.fromisoformat(body["data"]["finished_at"]) == job.finished_at


def test_each_endpoint_that_subscribed_is_told_once(desk: Desk) -> None:
    subscribe(desk, "whe_all", ["*"])
    subscribe(desk, "whe_twice", ["job.*", "job.canceled"])
    subscribe(desk, "whe_other", ["job.succeeded"])
    identity = desk.submit()
    desk.do(progress.request_cancel, PROJECT, identity)

    assert told(desk, "job.queued") == told(desk, "job.canceled") == ["whe_all", "whe_twice"]


def test_disabled_deleted_and_foreign_endpoints_are_not_told(desk: Desk) -> None:
    desk.do(lambda session: session.add(ProjectRow(id="prj_other", name="other")))
    subscribe(desk, "whe_disabled", ["*"], state="disabled")
    subscribe(desk, "whe_deleted", ["*"], deleted_at=MOMENT)
    subscribe(desk, "whe_foreign", ["*"], project_id="prj_other")
    desk.submit(callback_endpoint_id="whe_foreign")
    desk.do(progress.request_cancel, PROJECT, desk.submit(callback_endpoint_id="whe_foreign"))

    assert [told(desk, type) for type in sorted(TYPES)] == [[]] * len(TYPES)


def test_a_jobs_callback_is_told_its_end_even_if_it_subscribed_to_less(desk: Desk) -> None:
    subscribe(desk, "whe_callback", ["job.succeeded"])
    desk.do(progress.request_cancel, PROJECT, desk.submit(callback_endpoint_id="whe_callback"))

    assert told(desk, "job.queued") == []
    assert told(desk, "job.canceled") == ["whe_callback"]


def test_a_callback_that_subscribed_as_well_is_told_once(desk: Desk) -> None:
    subscribe(desk, "whe_callback", ["*"])
    desk.do(progress.request_cancel, PROJECT, desk.submit(callback_endpoint_id="whe_callback"))

    assert told(desk, "job.canceled") == ["whe_callback"]


def test_a_change_that_is_rolled_back_is_not_told(desk: Desk) -> None:
    subscribe(desk, "whe_all", ["*"])
    job = desk.job(desk.submit())
    with desk.database.transaction() as session:
        announce(session, job, "job.running")
        session.rollback()

    assert told(desk, "job.running") == []


def test_an_event_about_anything_reaches_who_subscribed_to_its_family_and_its_callback(desk: Desk) -> None:
    subscribe(desk, "whe_1", ["export.*"])
    subscribe(desk, "whe_2", ["job.*"])
    subscribe(desk, "whe_3", ["job.failed"], state="pending")
    event = desk.do(
        lambda session: announce_about(
            session,
            project_id=PROJECT,
            subject_id="exp_1",
            type="export.ready",
            data={"export_id": "exp_1", "sequence": 1},
            callback_endpoint_id="whe_3",
        )
    )

    assert told(desk, "export.ready") == ["whe_1", "whe_3"]
    assert (event.job_id, event.subject_id, event.sequence) == (None, "exp_1", 1)
    assert json.loads(event.body)["data"]["export_id"] == "exp_1"


def test_a_body_that_is_too_long_to_be_sent_is_a_mistake_of_who_wrote_it(desk: Desk) -> None:
    with pytest.raises(ValueError, match="too long"):
        desk.do(
            lambda session: announce_about(
                session, project_id=PROJECT, subject_id="exp_1", type="export.ready", data={"x": "x" * MAX_BODY_BYTES}
            )
        )


@pytest.mark.parametrize("type", sorted(OPT_IN_TYPES))
def test_progress_is_covered_by_its_name_alone(type: str) -> None:
    assert not wants(["*", "job.*", "batch.*"], type)
    assert wants([type], type)


def spotted(probabilities: list[float], frames: int = 10) -> VideoReport:
    """A face with a stretch of each of these scores, half a second and more apart."""
    scores = [score for probability in probabilities for score in [probability] * frames + [0.0] * 20]
    one = scored_report(len(scores))
    evidence = replace(one.tracks[0].frames, score=tuple(scores))
    return replace(one, tracks=(replace(one.tracks[0], frames=evidence),))


def success(desk: Desk, job_id: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(desk.events(job_id)[-1].body)["data"]
    return data


def test_a_success_tells_the_three_highest_stretches(desk: Desk) -> None:
    held = desk.running()
    report = spotted([0.7, 0.95, 0.65, 0.8])

    desk.do(progress.succeed, held.job_id, held.token, report, "key")

    told = success(desk, held.job_id)["top_segments"]
    assert [(part["start_ms"], part["end_ms"], part["peak"]) for part in told] == [
        (1200, 1560, 0.95),
        (3600, 3960, 0.8),
        (0, 360, 0.7),
    ]
    assert {part["track_id"] for part in told} == {"trk_0"}
    assert [part["mean"] for part in told] == pytest.approx([0.95, 0.8, 0.7])


def test_the_stretches_are_by_the_thresholds_that_the_job_was_judged_by(desk: Desk) -> None:
    held = desk.running()
    strict = Thresholds(policy="strict@1", weak=0.5, suspicious=0.9, strong=0.99)

    desk.do(progress.succeed, held.job_id, held.token, under(spotted([0.7, 0.95]), strict), "key")

    assert [part["peak"] for part in success(desk, held.job_id)["top_segments"]] == [0.95]


def test_nothing_is_told_of_stretches_that_do_not_exist_or_are_not_kept(desk: Desk) -> None:
    quiet, unscored, zero = desk.running(), desk.running(), desk.running(retention=ZERO)
    nothing: dict[str, Any] = {"score": None, "probability": None, "verdict": None, "thresholds": None, "tracks": ()}
    absent = replace(scored_report(), outcome=Outcome.NOT_APPLICABLE, reason=NotApplicableReason.NO_FACE, **nothing)

    desk.do(progress.succeed, quiet.job_id, quiet.token, spotted([0.2]), "key")
    desk.do(progress.succeed, unscored.job_id, unscored.token, absent, "other")
    desk.do(progress.succeed, zero.job_id, zero.token, spotted([0.95]), None)

    told = [success(desk, held.job_id)["top_segments"] for held in (quiet, unscored, zero)]
    assert told == [[], None, None]
    assert desk.job(zero.job_id).top_segments is None


def test_thin_bodies_and_other_events_tell_no_stretches(desk: Desk) -> None:
    held = desk.running()
    desk.do(progress.succeed, held.job_id, held.token, spotted([0.95]), "key")
    bodies = {event.type: event.body for event in desk.events(held.job_id)}

    assert "top_segments" not in bodies["job.queued"] + bodies["job.running"]
    assert "top_segments" not in as_sent(bodies["job.succeeded"], "thin")


def test_the_stretches_go_with_the_frames_and_with_the_job(desk: Desk) -> None:
    kept, swept, erased = (desk.succeeded_with(spotted([0.95]), retention=AGREED) for _ in range(3))
    desk.sql("update jobs set frames_until = now() - interval '1 second' where id = :id", id=swept)
    desk.sweep("frames")
    desk.erase(erased)

    assert [desk.job(one).top_segments is None for one in (kept, swept, erased)] == [False, True, True]
