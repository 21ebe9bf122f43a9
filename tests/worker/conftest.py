"""An execution on real services with an analyzer that the test writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from styleflow import api_keys
from styleflow.database import Database
from styleflow.egress import Egress, EgressPolicy
from styleflow.jobs import intake
from styleflow.jobs.intake import NewJob
from styleflow.report import Pipeline, VideoReport
from styleflow.storage.local import LocalBucket
from styleflow.tables import JobRow
from tests.stub_worker import report_without_face
from worker.execution import Execution, KeepCrop
from worker.fetch import FetchedVideo, Sources


@dataclass
class ScriptedAnalyzer:
    """Does what the test says in the middle of an analysis."""

    act: Callable[[FetchedVideo], object] = field(default=lambda video: None)
    models: tuple[str, ...] = ("stub@1",)
    device: str = "cpu"
    asked: list[str] = field(default_factory=list)
    code_version: str = "test"

    def pipeline(self, model: str) -> Pipeline:
        return replace(report_without_face().pipeline, code_version=self.code_version)

    def analyze(
        self,
        video: FetchedVideo,
        model: str,
        options: Mapping[str, Any],
        *,
        report_progress: Callable[[dict[str, Any]], None],
        checkpoint: Callable[[], None],
        keep_crop: KeepCrop | None = None,
    ) -> VideoReport:
        self.asked.append(model)
        report_progress({"phase": "analysing", "clips_done": 1, "clips_total": 2, "fraction": 0.5})
        self.act(video)
        checkpoint()
        return replace(report_without_face(video.sha256), pipeline=self.pipeline(model))


@dataclass
class Bench:
    """One installation without processes: what a test needs to put a job through."""

    database: Database
    bucket: LocalBucket
    analyzer: ScriptedAnalyzer
    stopping: threading.Event
    execution: Execution

    def submit(self, text: str = "a video", **more: Any) -> str:
        """Store bytes and queue a job for them; returns its id."""
        self.bucket.put("videos/one", text.encode(), "video/mp4")
        with self.database.transaction() as session:
            project = api_keys.ensure_project(session, "tests")
            values: dict[str, Any] = {"source": {"type": "upload", "key": "videos/one"}, "max_attempts": 5}
            named: dict[str, Any] = {"project_id": project.id, "model": "stub@1", "expires_in_days": 1}
            job = NewJob(**(named | values | more))
            return intake.submit(session, job).id

    def job(self, job_id: str) -> JobRow:
        with self.database.transaction() as session:
            return session.get_one(JobRow, job_id)


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    bucket = LocalBucket(tmp_path / "bucket")
    analyzer, stopping = ScriptedAnalyzer(), threading.Event()
    execution = Execution(
        database=database,
        bucket=bucket,
        sources=Sources(bucket=bucket, bucket_named=lambda name: bucket, egress=Egress(EgressPolicy()), max_bytes=1000),
        analyzer=analyzer,
        worker="worker-under-test",
        scratch=tmp_path,
        lease_seconds=4.0,
        heartbeat_seconds=0.05,
        max_attempt_seconds=60.0,
        stopping=stopping,
    )
    return Bench(database, bucket, analyzer, stopping, execution)
