"""S3 and what speaks its protocol. Only this file imports boto3, and `s3_errors.py` what botocore raises."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.response import StreamingBody

from styleflow.errors import InvalidRequest, SourceChanged, SourceForbidden, SourceNotFound, StorageUnavailable
from styleflow.storage.bucket import CHUNK_BYTES, ObjectFacts, PresignedPut, StoredObject
from styleflow.storage.s3_errors import BehindTheEnd, refusal_of, translated
from styleflow.storage.s3_multiparts import S3Multiparts

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

CONNECT_SECONDS = 5
READ_SECONDS = 30
TOTAL_ATTEMPTS = 5
_RESUMES = 5
_DELETE_AT_ONCE = 1000
_DIGEST = "sha256"
"""Our own metadata: lets a repeated conditional put see that it was the first one that succeeded."""


class S3Bucket:
    """One S3 bucket, through one thread-safe client.

    `endpoint_url` is where this process reaches the store; `public_endpoint_url` is what presigned addresses name,
    where callers reach it under another name. Credentials come from the usual AWS places.
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_url: str | None = None,
        public_endpoint_url: str | None = None,
        region: str = "us-east-1",
        connections: int = 10,
    ) -> None:
        self._name = name
        self._client = _client(endpoint_url, region, connections)
        self._presigner = _client(public_endpoint_url, region, connections) if public_endpoint_url else self._client

    @property
    def name(self) -> str:
        return self._name

    @property
    def multiparts(self) -> S3Multiparts:
        return S3Multiparts(self._name, self._client, self._presigner)

    @property
    def landing(self) -> Path | None:
        return None

    def head(self, key: str, *, version_id: str | None = None, with_sha256: bool = False) -> ObjectFacts | None:
        asked: dict[str, Any] = {"ChecksumMode": "ENABLED"} if with_sha256 else {}
        try:
            with translated():
                found = self._client.head_object(Bucket=self._name, Key=_plain(key), **_version(version_id), **asked)
        except SourceNotFound:
            return None
        return ObjectFacts(
            size_bytes=found["ContentLength"],
            etag=found["ETag"],
            version_id=_version_of(found.get("VersionId")),
            sha256=_whole_sha256(found.get("ChecksumSHA256")),
        )

    @contextmanager
    def open(
        self, key: str, *, if_match: str | None = None, version_id: str | None = None, start: int = 0
    ) -> Iterator[Iterator[bytes]]:
        wanted: dict[str, Any] = {"Bucket": self._name, "Key": _plain(key), **_version(version_id)}
        match: dict[str, Any] = {} if if_match is None else {"IfMatch": if_match}
        part: dict[str, Any] = {} if start == 0 else {"Range": f"bytes={start}-"}
        try:
            with translated():
                first = self._client.get_object(**wanted, **match, **part)
        except BehindTheEnd:
            yield iter(())
            return
        # From here on only the version that was met, also when a broken connection makes us ask again.
        reading = _Reading(
            self._client, {**wanted, "IfMatch": first["ETag"]}, first["Body"], start, first["ContentLength"]
        )
        try:
            yield reading.chunks()
        finally:
            reading.body.close()

    def put(self, key: str, data: bytes | Path, content_type: str, if_absent: bool = False) -> ObjectFacts:
        digest = _sha256(data)
        wanted: dict[str, Any] = {
            "Bucket": self._name,
            "Key": _plain(key),
            "ContentType": content_type,
            "ChecksumSHA256": base64.b64encode(digest).decode(),
            "Metadata": {_DIGEST: digest.hex()},
            **({"IfNoneMatch": "*"} if if_absent else {}),
        }
        try:
            with translated():
                if isinstance(data, bytes):
                    self._client.put_object(**wanted, Body=data)
                else:
                    with data.open("rb") as file:
                        self._client.put_object(**wanted, Body=file)
        except SourceChanged:
            if self._digest_of(key) != digest.hex():
                raise SourceChanged("another object has that key already") from None
        facts = self.head(key)
        if facts is None or facts.size_bytes != _size(data):
            raise StorageUnavailable("the object store does not show what was just written")
        return facts

    def delete(self, keys: Iterable[str]) -> None:
        self._delete({"Key": key} for key in keys)

    def erase(self, names: Iterable[str]) -> None:
        wanted = list(names)
        if not wanted:
            return
        if self._keeps_versions():
            self._delete(found for name in wanted for found in self._versions_under(name))
        else:
            self.delete(key for name in wanted for key in self._keys_under(name))

    def _keeps_versions(self) -> bool:
        """Whether it ever kept any. Asked each time: it can be switched on while we run. A store that does not say
        might; one that does not know the question does not."""
        try:
            return "Status" in self._client.get_bucket_versioning(Bucket=self._name)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 501:
                return False
            if isinstance(refusal := refusal_of(error), SourceForbidden):
                return True
            raise refusal from error
        except BotoCoreError as error:
            raise StorageUnavailable from error

    def _keys_under(self, name: str) -> Iterator[str]:
        return (found.key for found in self.list(name)) if name.endswith("/") else iter([name])

    def _versions_under(self, name: str) -> Iterator[ObjectIdentifierTypeDef]:
        """Every version and every delete marker of an object, or of all below a name that ends in `/`."""
        pages = self._client.get_paginator("list_object_versions")
        with translated():
            for page in pages.paginate(Bucket=self._name, Prefix=name):
                for found in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                    if name.endswith("/") or found["Key"] == name:
                        yield {"Key": found["Key"], "VersionId": found["VersionId"]}

    def _delete(self, objects: Iterable[ObjectIdentifierTypeDef]) -> None:
        rest = iter(objects)
        while batch := list(islice(rest, _DELETE_AT_ONCE)):
            with translated():
                answer = self._client.delete_objects(Bucket=self._name, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                raise StorageUnavailable(f"the object store did not delete {len(errors)} of {len(batch)} objects")

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self.list_after(prefix, None)

    def list_after(self, prefix: str, after: str | None) -> Iterator[StoredObject]:
        # S3 lists in order of the keys' UTF-8 bytes.
        behind: dict[str, Any] = {} if after is None else {"StartAfter": after}
        pages = self._client.get_paginator("list_objects_v2")
        with translated():
            for page in pages.paginate(Bucket=self._name, Prefix=prefix, **behind):
                for found in page.get("Contents", []):
                    yield StoredObject(
                        key=found["Key"], size_bytes=found["Size"], modified_at=found["LastModified"].astimezone(UTC)
                    )

    def presign_put(
        self, key: str, size_bytes: int, sha256: str | None, content_type: str, seconds: int
    ) -> PresignedPut:
        signed: dict[str, Any] = {"ContentLength": size_bytes, "ContentType": content_type}
        headers = {"Content-Type": content_type, "Content-Length": str(size_bytes)}
        if sha256 is not None:
            signed["ChecksumSHA256"] = headers["x-amz-checksum-sha256"] = base64.b64encode(
                bytes.fromhex(sha256)
            ).decode()
        with translated():
            url = self._presigner.generate_presigned_url(
                "put_object", {"Bucket": self._name, "Key": _plain(key), **signed}, ExpiresIn=seconds
            )
        return PresignedPut(url=url, method="PUT", headers=headers)

    def presign_get(self, key: str, seconds: int) -> str:
        with translated():
            return self._presigner.generate_presigned_url(
                "get_object",
                {"Bucket": self._name, "Key": _plain(key), "ResponseCacheControl": "private"},
                ExpiresIn=seconds,
            )

    def _digest_of(self, key: str) -> str | None:
        with translated():
            return self._client.head_object(Bucket=self._name, Key=key)["Metadata"].get(_DIGEST)


class _Reading:
    """One object being read; a broken connection is taken up where it broke, with the same etag."""

    def __init__(self, client: S3Client, request: dict[str, Any], body: StreamingBody, start: int, length: int) -> None:
        self.body = body
        self._client = client
        self._request = request
        self._start = start
        self._end = start + length

    def chunks(self) -> Iterator[bytes]:
        offset, resumes = self._start, 0
        while offset < self._end:
            try:
                while chunk := self.body.read(CHUNK_BYTES):
                    offset += len(chunk)
                    yield chunk
            except (HTTPClientError, IncompleteReadError) as error:
                resumes += 1
                if resumes > _RESUMES:
                    raise StorageUnavailable("the object store broke off several times") from error
                self._resume(offset)

    def _resume(self, offset: int) -> None:
        self.body.close()
        if offset < self._end:
            with translated():
                self.body = self._client.get_object(**self._request, Range=f"bytes={offset}-")["Body"]


def _client(endpoint_url: str | None, region: str, connections: int) -> S3Client:
    config = Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
        max_pool_connections=connections,
        # Stores other than Amazon's own refuse the checksums that botocore otherwise adds to every request.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A store that runs beside us has one host name, not one for each bucket.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
    )
    return boto3.session.Session().client("s3", endpoint_url=endpoint_url, region_name=region, config=config)


def _plain(key: str) -> str:
    if not key:
        raise InvalidRequest("a key is not empty")
    return key


def _version(version_id: str | None) -> dict[str, Any]:
    return {} if version_id is None else {"VersionId": version_id}


def _version_of(found: str | None) -> str | None:
    """S3 calls the one version of an unversioned bucket `null`."""
    return None if found in (None, "null") else found


def _whole_sha256(checksum: str | None) -> str | None:
    """From base64 to hexadecimal; None also for a checksum of the parts' checksums (`…-N`), which is none of the
    bytes."""
    if checksum is None or "-" in checksum:
        return None
    return base64.b64decode(checksum).hex()


def _sha256(data: bytes | Path) -> bytes:
    if isinstance(data, bytes):
        return hashlib.sha256(data).digest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _size(data: bytes | Path) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size
