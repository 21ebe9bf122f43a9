"""From settings to the things that a worker works with. This door's own; rooms get values."""

from __future__ import annotations

from styleflow.batches.items import Rules
from styleflow.batches.listing import Shelves
from styleflow.egress import Egress, EgressPolicy
from styleflow.errors import SourceNotAllowed
from styleflow.exports.destinations import may_write
from styleflow.settings import Settings
from styleflow.storage.bucket import Bucket
from styleflow.storage.connect import open_bucket
from styleflow.storage.keys import checked
from worker.fetch import Sources


def own_bucket(settings: Settings) -> Bucket:
    return _bucket(settings, settings.bucket_url)


def egress(settings: Settings) -> Egress:
    return Egress(
        EgressPolicy(
            allow_http=settings.egress_allow_http,
            allow_loopback=settings.egress_allow_loopback,
            connect_to=tuple(settings.egress_connect_to),
            ca_file=settings.egress_ca_file,
        )
    )


def sources(settings: Settings, bucket: Bucket) -> Sources:
    """The service's own bucket, the allowed other ones by name, and the web."""
    return Sources(
        bucket=bucket,
        bucket_named=lambda name: bucket if name == bucket.name else _bucket(settings, f"s3://{name}"),
        egress=egress(settings),
        max_bytes=settings.max_media_bytes,
    )


def batch_shelves(settings: Settings, own: Bucket, outside: Egress) -> Shelves:
    """The service's own bucket and the allowed other ones, and what an item of a batch may name."""

    def check_bucket(name: str) -> None:
        if name != own.name and name not in settings.source_buckets:
            raise SourceNotAllowed("This bucket is not on the allow-list.")

    def bucket_named(name: str) -> Bucket:
        check_bucket(name)
        return own if name == own.name else _bucket(settings, f"s3://{name}")

    def check_key(name: str, key: str) -> None:
        if name == own.name and own.landing is not None:  # of a folder; S3 has objects under any key
            checked(key)

    rules = Rules(check_bucket=check_bucket, check_url=outside.check_url, own_bucket=own.name, check_key=check_key)
    return Shelves(bucket_named=bucket_named, rules=rules)


def export_bucket(settings: Settings, project_id: str, name: str) -> Bucket:
    """A caller's bucket that this project's exports are written into. Raises SourceNotAllowed."""
    ours = settings.bucket_url.removeprefix("s3://").split("/")[0]
    if name == ours or not may_write(settings.export_buckets, project_id, name):
        raise SourceNotAllowed("Exports are not written into this bucket.")
    return _bucket(settings, f"s3://{name}")


def _bucket(settings: Settings, url: str) -> Bucket:
    return open_bucket(url, endpoint_url=settings.s3_endpoint_url, region=settings.s3_region)
