"""A real API process's worth of application: uvicorn on loopback, real PostgreSQL and Redis, a local bucket."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvicorn
from sqlalchemy import text

from api.main import create_app
from styleflow import api_keys
from styleflow.database import Database, psycopg_url
from styleflow.embedded import Server
from styleflow.jobs import progress, queries
from styleflow.jobs.erasures import ErasureRunner
from styleflow.jobs.object_erasures import ObjectEraser
from styleflow.packs import COMPONENTS, PackCard, Preprocessing, Training, WeightsFile, write_card
from styleflow.report import (
    ClipScore,
    Coverage,
    FaceCrop,
    FaceTrack,
    FrameEvidence,
    InconclusiveReason,
    MediaFacts,
    Outcome,
    Pipeline,
    Thresholds,
    Verdict,
    VideoReport,
    report_to_json,
)
from styleflow.settings import Settings
from styleflow.storage.connect import open_bucket

SECRET = "a secret for tests, long enough to be one"
SCOPES = (
    *("jobs:write", "jobs:read", "batches:write", "evidence:read"),
    *("webhooks:manage", "models:admin", "erasure:write"),
)


@dataclass
class Running:
    """An application that is being served."""

    url: str
    settings: Settings
    database: Database
    app: Any

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        given = {"Authorization": f"Bearer {key}", **headers} if key else headers
        return httpx.Client(base_url=self.url, headers=given, timeout=30, trust_env=False)


@dataclass
class Tenant:
    """A project, a key of it, and a client that sends the key."""

    project_id: str
    key: str
    client: httpx.Client
    running: Running

    def post_job(self, **more: Any) -> dict[str, Any]:
        body = {"source": {"type": "url", "url": "https://media.example.org/clip.mp4"}, **more}
        answer = self.client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def let_objects_go(self) -> None:
        """What the light worker would do next: erase what is due in the bucket, and complete erasures."""
        database, bucket = self.running.database, open_bucket(self.running.settings.bucket_url)
        with database.transaction() as session:
            session.execute(text("update erasures set lease_expires_at = now() where finished_at is null"))
        while ObjectEraser(database=database, bucket=bucket).erase_due():
            pass
        while ErasureRunner(database=database, owner="test", selector_key=b"k" * 32).run_once():
            pass

    def succeed(self, job_id: str, report: VideoReport | None = None) -> None:
        """What a worker would do: claim, keep the whole report in the bucket, settle."""
        report = report or make_report()
        key = f"evidence/{job_id}/1/report.json"
        bucket = open_bucket(self.running.settings.bucket_url)
        bucket.put(key, httpx.Response(200, json=report_to_json(report)).content, "application/json")
        for crop in report.crops:
            bucket.put(f"crops/{job_id}/1/{crop.crop_id}.jpg", picture_of(crop.crop_id), "image/jpeg")
        self.settle_as(job_id, key, report)

    def settle_as(self, job_id: str, key: str, report: VideoReport | None = None) -> None:
        """Settle with a report that lies under that key."""
        report = report or make_report()
        with self.running.database.transaction() as session:
            claim = queries.claim(session, worker="test", lease_seconds=60, job_id=job_id)
        assert claim is not None
        with self.running.database.transaction() as session:
            progress.succeed(session, job_id, claim.token, report, key)


def picture_of(crop_id: str) -> bytes:
    """What lies in the bucket as that crop."""
    return f"a JPEG, {crop_id}".encode()


@contextmanager
def serve(settings: Settings) -> Iterator[Running]:
    """uvicorn in a thread of this process, on a free port."""
    app = create_app(settings)
    logging.getLogger().setLevel(logging.WARNING)  # a line per request would only hide the failures
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=2)
    config.proxy_headers = False  # as in production: the application itself says whose word it takes
    server = uvicorn.Server(config)
    started = threading.Event()

    async def run() -> None:
        main = asyncio.create_task(server.serve())
        while not server.started and not main.done():
            await asyncio.sleep(0.005)
        started.set()
        await main

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="api-under-test")
    thread.start()
    database = Database(settings.database_url, pool_size=4, application="test")
    try:
        # Within the try: a server that starts late must end too, or its thread keeps the whole run from ending.
        started.wait(20)
        assert server.started
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Running(f"http://127.0.0.1:{port}", settings, database, app)
    finally:
        server.should_exit = True
        thread.join(20)
        database.close()


@pytest.fixture(scope="session")
def api_database_url(postgres: Server) -> Iterator[str]:
    """One database for all tests of the API: they keep apart by project."""
    name = f"api_{uuid4().hex}"
    administration = psycopg_url(postgres.url).replace("/styleflow?", "/postgres?")
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f'create database "{name}" template styleflow')
        yield postgres.url.replace("/styleflow?", f"/{name}?")
        connection.execute(f'drop database "{name}" with (force)')


def write_pack(directory: Path) -> None:
    card = PackCard(
        name="tiny",
        version="1",
        default=True,
        size="custom",
        sizes={},
        components=COMPONENTS,
        weights=WeightsFile(sha256="0" * 64, size_bytes=1),
        preprocessing=Preprocessing(content_size=32, style_size=32),
        calibration=None,
        training=Training(trained=False, statement="never"),
        created=datetime(2026, 11, 20, tzinfo=UTC),
    )
    folder = directory / card.folder
    folder.mkdir(parents=True)
    write_card(card, folder)


@pytest.fixture(scope="session")
def api_settings(
    api_database_url: str, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Settings]:
    """Settings of one installation, with changes."""
    home = tmp_path_factory.mktemp("api")
    write_pack(home / "packs")
    (home / "bucket").mkdir()

    def make(**changes: Any) -> Settings:
        values = {
            "database_url": api_database_url,
            "redis_url": redis_server.url,
            "bucket_url": f"file://{home / 'bucket'}",
            "packs_directory": home / "packs",
            "secret_key": SECRET,
            "max_upload_bytes": 8 << 20,
            "source_buckets": [],
            "environment": "development",
            **changes,
        }
        return Settings(**values)

    return make


@pytest.fixture(scope="session")
def running(api_settings: Callable[..., Settings]) -> Iterator[Running]:
    with serve(api_settings()) as running:
        # Addresses that the API hands out must lead back to it; its port is only known now.
        services = running.app.state.services
        object.__setattr__(services.upload_tokens, "public_url", running.url)
        yield running


@dataclass
class Office:
    """Makes tenants, and closes their clients."""

    running: Running
    clients: list[httpx.Client] = field(default_factory=list)

    def tenant(self, *, scopes: tuple[str, ...] = SCOPES, project_id: str | None = None) -> Tenant:
        with self.running.database.transaction() as session:
            if project_id is None:
                project_id = api_keys.ensure_project(session, f"project-{uuid4().hex}").id
            _, key = api_keys.create(session, SECRET, project_id, "test", list(scopes), None)
        client = self.running.client(key)
        self.clients.append(client)
        return Tenant(project_id, key, client, self.running)


@pytest.fixture
def office(running: Running) -> Iterator[Office]:
    office = Office(running)
    yield office
    for client in office.clients:
        client.close()


@pytest.fixture
def tenant(office: Office) -> Tenant:
    return office.tenant()


@pytest.fixture
def client(tenant: Tenant) -> httpx.Client:
    return tenant.client


@pytest.fixture
def anonymous(running: Running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


def make_track(track_id: str = "trk_1", frames: int = 40, *, scored: bool = False) -> FaceTrack:
    """A face seen in `frames` frames, 25 a second."""
    numbers = tuple(range(frames))
    value = 0.75 if scored else None
    clip = ClipScore(
        index=0, start_seconds=0.0, end_seconds=1.28, first_frame=0, last_frame=31, logit=value, probability=value
    )
    return FaceTrack(
        track_id=track_id,
        start_seconds=0.0,
        end_seconds=(frames - 1) / 25,
        frame_count=frames,
        detection_confidence=0.99,
        face_size_px=120.0,
        score=value,
        probability=value,
        clips=(clip,),
        frames=FrameEvidence(
            frame_index=numbers,
            time_seconds=tuple(number / 25 for number in numbers),
            box=tuple((float(number), 2.0, float(number) + 100, 102.0) for number in numbers),
            detection_confidence=tuple(0.99 for _ in numbers),
            score=tuple(value for _ in numbers),
            flow_coarse=tuple(None if number == 0 else 1.0 for number in numbers),
            flow_middle=tuple(None if number == 0 else 2.0 for number in numbers),
            flow_fine=tuple(None if number == 0 else 3.0 for number in numbers),
            attention=tuple(0.5 for _ in numbers),
        ),
    )


def make_crop(number: int, track_id: str = "trk_1") -> FaceCrop:
    """A picture of the track on the frame of that number."""
    return FaceCrop(
        crop_id=f"crop-{number}",
        track_id=track_id,
        clip_index=0,
        frame_index=number,
        time_seconds=number / 25,
        score=0.75,
        attention=0.5,
    )


def make_scored(crops: int = 0) -> VideoReport:
    """One suspicious face, with so many pictures."""
    pictures = tuple(make_crop(number) for number in range(1, crops + 1))
    report = make_report(Outcome.SCORED, None, probability=0.75, verdict=Verdict.SUSPICIOUS)
    return replace(report, crops=pictures)


def make_report(
    outcome: Outcome = Outcome.INCONCLUSIVE,
    reason: str | None = InconclusiveReason.UNCALIBRATED_WEIGHTS,
    *,
    probability: float | None = None,
    verdict: Verdict | None = None,
    tracks: tuple[FaceTrack, ...] | None = None,
) -> VideoReport:
    scored = outcome is Outcome.SCORED
    return VideoReport(
        outcome=outcome,
        reason=reason,
        score=1.5 if scored else None,
        probability=probability,
        verdict=verdict,
        pooling="mean_logit_max_track",
        thresholds=Thresholds(policy="test", weak=0.3, suspicious=0.6, strong=0.9) if scored else None,
        media=MediaFacts(container="mov,mp4", codec="h264", width=640, height=360, duration_seconds_from_header=1.6),
        coverage=Coverage(
            media_seconds=1.6,
            analysed_seconds=1.6,
            frames_decoded=40,
            frames_with_face=40,
            clips_planned=1,
            clips_analysed=1,
            faces_tracked=1,
            sampling="full",
            truncated=False,
        ),
        tracks=(make_track(scored=scored),) if tracks is None else tracks,
        pipeline=Pipeline(
            model="tiny@1",
            pack="tiny",
            pack_version="1",
            pack_sha256="0" * 64,
            size="custom",
            components=COMPONENTS,
            calibration="platt" if scored else None,
            code_version="test",
            device="cpu",
            precision="float32",
            libraries={},
        ),
    )
