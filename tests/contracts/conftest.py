"""Both kinds of bucket, and how bytes get to a presigned address of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from styleflow.storage.bucket import Bucket
from styleflow.storage.connect import open_bucket
from tests.object_store import CREDENTIALS, make_bucket, moto_server


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(params=["file", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    if request.param == "file":
        return open_bucket(f"file://{tmp_path / 'bucket'}", sign=_sign)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    endpoint: str = request.getfixturevalue("s3_server")
    return open_bucket(f"s3://{make_bucket(endpoint)}", endpoint_url=endpoint)


def _sign(method: str, key: str, seconds: int, part: int | None = None) -> str:
    return f"http://api/{method}/{key}/{part or ''}"
