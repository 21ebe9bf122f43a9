"""A video from POST to a listening webhook, on real services and with the real detector."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from styleflow.report import Outcome, report_from_json
from styleflow.webhooks.signature import verify
from tests import media
from tests.journeys.conftest import SAMPLES, Service, decoder_children, kill
from tests.stack import eventually

SAMPLE = SAMPLES / "grid-lrwp9a.mpg"


@pytest.fixture
def secret(service: Service) -> str:
    """A webhook endpoint at the listening receiver; its secret."""
    made = service.client.post("/v1/webhook-endpoints", json={"url": service.receiver.url, "events": ["job.*"]})
    assert made.status_code == 201, made.text
    return str(made.json()["secret"])


def test_a_sample_ends_inconclusive_with_tracks_and_flow_and_is_told_by_a_signed_webhook(
    service: Service, secret: str
) -> None:
    job = service.submit(SAMPLE.read_bytes(), client_ref="post-991", tags={"queue": "politics"})

    settled = service.settled(job["id"])

    assert (settled["state"], settled["outcome"], settled["reason"]) == (
        "succeeded",
        "inconclusive",
        "uncalibrated_weights",
    )
    assert settled["score"] is None
    assert settled["verdict"] is None
    result = service.client.get(f"/v1/jobs/{job['id']}/result").json()
    assert result["pipeline"]["model"].startswith("styleflow-compact@")
    (track,) = service.client.get(f"/v1/jobs/{job['id']}/tracks").json()["data"]
    frames = service.client.get(
        f"/v1/jobs/{job['id']}/frames", params={"track_id": track["track_id"], "limit": 1000}
    ).json()["data"]
    assert len(frames) == 75
    assert all(frame["score"] is None for frame in frames)
    assert sum(frame["flow"]["fine"] is not None for frame in frames) > 60

    eventually(lambda: "job.succeeded" in service.receiver.events(job["id"]), explain=service.stack.logs)
    headers, body = next(call for call in service.receiver.calls if b"job.succeeded" in call[1])
    assert verify(secret, headers, body, now=time.time())


def test_the_stored_report_reads_back_as_the_report_that_it_is(service: Service) -> None:
    job = service.submit(SAMPLE.read_bytes())
    service.settled(job["id"])

    report = report_from_json(service.client.get(f"/v1/jobs/{job['id']}/report").json())

    assert report.outcome is Outcome.INCONCLUSIVE
    assert report.media.codec == "mpeg1video"


def test_a_file_that_is_no_video_fails_with_its_code_and_the_next_job_runs(service: Service, tmp_path: Path) -> None:
    wrong = service.submit(media.text_file(tmp_path / "text.mp4").read_bytes())
    right = service.submit(SAMPLE.read_bytes())

    assert service.settled(wrong["id"])["error"]["code"] == "container_unsupported"
    assert service.settled(right["id"])["state"] == "succeeded"
    assert service.client.get(f"/v1/jobs/{wrong['id']}/result").status_code == 409


def clips_done(service: Service, job_id: str) -> int:
    return int(service.client.get(f"/v1/jobs/{job_id}").json()["progress"]["clips_done"])


def test_killing_the_decoder_fails_that_one_job_and_the_next_runs(service: Service, tmp_path: Path) -> None:
    long = media.long_face_clip(tmp_path / "long.mp4", minutes=0.5)
    job = service.submit(long.read_bytes(), options={"sampling": {"mode": "full"}})
    eventually(lambda: clips_done(service, job["id"]) > 0, seconds=60, explain=service.stack.logs)

    for pid in decoder_children(service.worker.pid):
        kill(pid)

    failed = service.settled(job["id"])
    assert (failed["state"], failed["error"]["code"], failed["score"]) == ("failed", "decoder_crash", None)
    assert service.settled(service.submit(SAMPLE.read_bytes())["id"])["state"] == "succeeded"


def test_a_worker_that_is_killed_in_the_middle_of_a_job_loses_nothing(service: Service) -> None:
    job = service.submit(SAMPLE.read_bytes())
    eventually(
        lambda: service.client.get(f"/v1/jobs/{job['id']}").json()["state"] == "running", explain=service.stack.logs
    )

    service.worker.kill()
    service.worker.wait()
    service.worker = service.stack.spawn("-m", "worker")

    settled = service.settled(job["id"])
    assert (settled["state"], settled["attempt"]) == ("succeeded", 2)
