"""A yard with an empty bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from styleflow.database import Database
from styleflow.storage.bucket import Bucket
from styleflow.storage.connect import open_bucket
from styleflow.storage.local import LocalBucket
from tests.batches.yard import Yard
from tests.jobs.desk import Desk


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    return Yard(Desk(database), LocalBucket(tmp_path / "bucket"))


@pytest.fixture
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket of a running S3 server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="videos-in-s3")
    yield open_bucket("s3://videos-in-s3", endpoint_url=endpoint)
    server.stop()
