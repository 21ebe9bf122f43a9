"""An installation on a store that keeps versions, with a worker and a light worker that move when they are told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
from moto.server import ThreadedMotoServer
from sqlalchemy import text

from styleflow import api_keys
from styleflow.api_keys import SecretBox
from styleflow.jobs.object_erasures import ObjectEraser
from styleflow.jobs.retention import KINDS
from styleflow.report import Outcome, Verdict, VideoReport
from styleflow.settings import Settings
from styleflow.tables import Table
from styleflow.webhooks.delivery import deliver_due
from tests.api.conftest import SCOPES, SECRET, Running, Tenant, make_report, make_track, serve
from tests.jobs.desk import KEEP
from tests.worker.conftest import ScriptedAnalyzer
from worker.execution import Execution
from worker.fetch import Sources

VIDEO = b"not much of a video"


@dataclass
class Shop:
    """The installation, and one tenant of it."""

    tenant: Tenant
    client: Any
    name: str
    execution: Execution
    canary: str = field(default_factory=lambda: f"canary-{uuid4().hex}")
    """A word that occurs nowhere else."""

    def submit_canaries(self, **retention: Any) -> tuple[str, str]:
        """Upload the video and submit a job for it that is full of canaries; ids of upload and job."""
        announced = {"filename": f"{self.canary}.mp4", "size_bytes": len(VIDEO), "content_type": "video/mp4"}
        upload = self.tenant.client.post("/v1/uploads", json=announced).json()
        assert httpx.put(upload["url"], content=VIDEO, headers=upload["headers"]).is_success
        body = {
            "source": {"type": "upload", "upload_id": upload["id"]},
            "client_ref": self.canary,
            "tags": {"a": self.canary},
            "metadata": {"a": self.canary},
            "retention": {"mode": "zero", **retention},
        }
        job = self.tenant.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": f"one-{uuid4().hex}"})
        assert job.status_code == 202, job.text
        return upload["id"], job.json()["id"]

    def tell(self) -> None:
        """Send all that is due, of other tests too: what they left must not use up the limit of a run."""
        services = self.tenant.running.app.state.services
        while deliver_due(services.database, services.egress, SecretBox(SECRET), 100):
            pass

    def tidy(self) -> None:
        """What the light worker does every few seconds."""
        for kind in ("zero", "uploads", "jobs", "erased_events"):
            with self.tenant.running.database.transaction() as session:
                KINDS[kind](session, KEEP, 500)
        bucket = self.tenant.running.app.state.services.bucket
        while ObjectEraser(database=self.tenant.running.database, bucket=bucket).erase_due():
            pass

    def lying(self) -> list[str]:
        """Keys of every version and delete marker in the bucket."""
        found = self.client.list_object_versions(Bucket=self.name)
        return [version["Key"] for version in (*found.get("Versions", []), *found.get("DeleteMarkers", []))]

    def tables_with(self, *words: str) -> list[str]:
        """Tables any of whose rows, written out, holds all of the words."""
        told = " and ".join(f"t::text like :word{number}" for number in range(len(words)))
        values = {f"word{number}": f"%{word}%" for number, word in enumerate(words)}
        with self.tenant.running.database.transaction() as session:
            return [
                name
                for name in Table.metadata.tables
                if session.execute(text(f"select count(*) from {name} t where {told}"), values).scalar_one()
            ]


class Scoring(ScriptedAnalyzer):
    """Finds a face, and scores it."""

    def analyze(self, video: Any, *arguments: Any, **options: Any) -> VideoReport:
        super().analyze(video, *arguments, **options)
        return make_report(
            Outcome.SCORED, None, probability=0.75, verdict=Verdict.SUSPICIOUS, tracks=(make_track(scored=True),)
        )


@contextmanager
def opened_shop(api_settings: Callable[..., Settings], scratch: Path) -> Iterator[Shop]:
    """With the credentials of the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    name = f"zero-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    settings = api_settings(
        bucket_url=f"s3://{name}",
        s3_endpoint_url=f"http://{host}:{port}",
        egress_allow_http=True,
        egress_allow_loopback=True,
    )
    with serve(settings) as running:
        tenant = _tenant(running)
        yield Shop(tenant, client, name, _execution(running, scratch))
        tenant.client.close()
    server.stop()


def _tenant(running: Running) -> Tenant:
    with running.database.transaction() as session:
        project_id = api_keys.ensure_project(session, f"zero-{uuid4().hex}").id
        _, key = api_keys.create(session, SECRET, project_id, "test", list(SCOPES), None)
    return Tenant(project_id, key, running.client(key), running)


def _execution(running: Running, scratch: Path) -> Execution:
    services = running.app.state.services
    bucket = services.bucket
    return Execution(
        database=running.database,
        bucket=bucket,
        sources=Sources(bucket=bucket, bucket_named=lambda _: bucket, egress=services.egress, max_bytes=1 << 20),
        analyzer=Scoring(),
        worker="test",
        scratch=scratch,
        lease_seconds=10,
        heartbeat_seconds=1,
        max_attempt_seconds=60,
        stopping=threading.Event(),
    )
