from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.errors import ConfigurationError
from styleflow.storage.connect import open_bucket
from styleflow.storage.local import LocalBucket
from styleflow.storage.s3 import S3Bucket


def test_a_file_address_opens_a_folder(tmp_path: Path) -> None:
    bucket = open_bucket(f"file://{tmp_path}/my%20bucket")

    assert isinstance(bucket, LocalBucket)
    assert (tmp_path / "my bucket").is_dir()


def test_a_file_address_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    open_bucket("file://./bucket")

    assert (tmp_path / "bucket").is_dir()


def test_an_s3_address_opens_a_bucket_of_that_name() -> None:
    bucket = open_bucket("s3://evidence", endpoint_url="http://127.0.0.1:1")

    assert isinstance(bucket, S3Bucket)
    assert bucket.name == "evidence"


@pytest.mark.parametrize("url", ["", "evidence", "s3://", "s3://evidence/prefix", "file://", "https://evidence"])
def test_any_other_address_is_a_mistake_in_the_settings(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_bucket(url)
