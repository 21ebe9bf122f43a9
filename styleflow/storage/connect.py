"""From an address in the settings to a bucket."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from styleflow.errors import ConfigurationError
from styleflow.storage.bucket import Bucket
from styleflow.storage.local import LocalBucket
from styleflow.storage.local_files import Signer
from styleflow.storage.s3 import S3Bucket


def open_bucket(
    url: str,
    *,
    endpoint_url: str | None = None,
    public_endpoint_url: str | None = None,
    region: str = "us-east-1",
    connections: int = 10,
    sign: Signer | None = None,
) -> Bucket:
    """`s3://NAME`, or `file:///absolute/folder` or `file://./relative/folder`. Raises ConfigurationError.

    The endpoints, the region and the number of connections matter to S3 only; `sign` makes the addresses that a
    local bucket hands out, and only the process that serves them has one.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and (folder := unquote(parts.netloc + parts.path)):
        return LocalBucket(Path(folder), sign=sign)
    if parts.scheme == "s3" and parts.netloc and parts.path in ("", "/"):
        return S3Bucket(
            parts.netloc,
            endpoint_url=endpoint_url,
            public_endpoint_url=public_endpoint_url,
            region=region,
            connections=connections,
        )
    raise ConfigurationError("a bucket's address is s3://NAME or file://FOLDER")
