from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from styleflow.cli.demonstration import reasons_of, shortcomings, table_of
from styleflow.cli.receiver import Receiver
from styleflow.cli.samples import DemoFailed, Sample, find_samples, follow, keep_report
from styleflow.errors import ConfigurationError
from styleflow.webhooks.signature import new_secret, signed_headers


def settled(name: str, **job: Any) -> Sample:
    return Sample(Path(name), job={"id": f"job_{name}", "state": "succeeded", "outcome": "inconclusive", **job})


def hearing(*samples: Sample) -> Receiver:
    receiver = Receiver()
    receiver.secret = new_secret()
    for sample in samples:
        body = json.dumps({"type": f"job.{sample.state}", "data": {"job_id": sample.job_id}}).encode()
        receiver.accept(signed_headers(receiver.secret, "evt_1", int(time.time()), body), body)
    return receiver


def shown(samples: list[Sample], receiver: Receiver, width: int = 120) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 (ends with the test)
    console.print(table_of(samples, receiver))
    console.file.close()
    return console.export_text()


def test_everything_settled_and_heard_has_no_shortcoming() -> None:
    samples = [settled("a.mp4"), settled("b.mp4")]
    assert shortcomings(samples, hearing(*samples)) == []


def test_a_missing_webhook_a_failed_job_and_a_wrong_signature_are_each_named() -> None:
    failed = settled("a.mp4", state="failed", outcome=None, error={"code": "corrupt_media"})
    receiver = hearing(failed)
    receiver.accept({}, b"{}")
    assert shortcomings([failed, settled("b.mp4")], receiver) == [
        "a.mp4 ended as failed (corrupt_media)",
        "the webhook of b.mp4 did not arrive",
        "1 webhooks came without a right signature",
    ]


def test_a_value_that_is_not_there_is_a_dash_and_never_a_number() -> None:
    row = shown([settled("a.mp4", reason="uncalibrated_weights", probability=None)], Receiver()).splitlines()[1]
    assert row.split() == ["a.mp4", "inconclusive", "–", "–", "–", "–", "0.0", "missing"]


def test_a_row_fits_into_eighty_characters() -> None:
    sample = settled("anitalker-aiface3.mp4", outcome="scored", verdict="no_evidence", probability=0.01)
    sample.seconds = 123.4
    assert len(shown([sample], hearing(sample), width=80).splitlines()[-1].rstrip()) <= 80
    assert "anitalker-aiface3.mp4" in shown([sample], hearing(sample), width=80)


def test_reasons_are_told_once_with_the_files_they_concern() -> None:
    samples = [
        settled("a.mp4", reason="uncalibrated_weights"),
        settled("b.mp4", reason="uncalibrated_weights"),
        settled("c.mp4", outcome="scored"),
        settled("d.mp4", state="failed", outcome=None, error={"code": "corrupt_media"}),
    ]
    assert reasons_of(samples) == [
        "inconclusive (uncalibrated_weights): a.mp4, b.mp4",
        "failed (corrupt_media): d.mp4",
    ]


def test_a_folder_without_videos_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(ConfigurationError, match="no videos"):
        find_samples(tmp_path)


def test_only_videos_are_samples(tmp_path: Path) -> None:
    for name in ("b.mkv", "a.mpg", "LICENCES.md", "c.mp4"):
        (tmp_path / name).touch()
    assert [sample.path.name for sample in find_samples(tmp_path)] == ["a.mpg", "b.mkv", "c.mp4"]


def test_jobs_that_do_not_settle_in_time_end_the_demonstration() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"id": "job_a", "state": "running"}))
    with (
        httpx.Client(transport=transport, base_url="http://api.test") as client,
        pytest.raises(DemoFailed, match="1 of 1 jobs have not settled"),
    ):
        follow(client, [Sample(Path("a"))], show=lambda _: None, interrupted=lambda: False, seconds=0)


def test_a_problem_of_the_api_is_repeated_with_its_code(tmp_path: Path) -> None:
    problem = {"code": "result_not_ready", "detail": "The job has not succeeded."}
    transport = httpx.MockTransport(lambda _: httpx.Response(409, json=problem))
    with (
        httpx.Client(transport=transport, base_url="http://api.test") as client,
        pytest.raises(DemoFailed, match=r"/v1/jobs/job_a/result answered 409 \(result_not_ready"),
    ):
        keep_report(client, settled("a"), tmp_path)
