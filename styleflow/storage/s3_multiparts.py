"""Objects in parts, as S3 has them."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from styleflow.errors import SourceNotFound
from styleflow.storage.bucket import PresignedPut
from styleflow.storage.multiparts import OpenMultipart, Part, StoredPart
from styleflow.storage.s3_errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class S3Multiparts:
    """Of one bucket, through its clients."""

    bucket: str
    client: S3Client
    presigner: S3Client

    def begin(self, key: str, content_type: str) -> str:
        with translated():
            return self.client.create_multipart_upload(Bucket=self.bucket, Key=key, ContentType=content_type)[
                "UploadId"
            ]

    def presign_part(self, key: str, multipart_id: str, number: int, size_bytes: int, seconds: int) -> PresignedPut:
        wanted = {"Bucket": self.bucket, "Key": key, "UploadId": multipart_id, "PartNumber": number}
        with translated():
            url = self.presigner.generate_presigned_url(
                "upload_part", {**wanted, "ContentLength": size_bytes}, ExpiresIn=seconds
            )
        return PresignedPut(url=url, method="PUT", headers={"Content-Length": str(size_bytes)})

    def put(self, key: str, multipart_id: str, number: int, data: bytes | Path) -> str:
        body = data if isinstance(data, bytes) else data.open("rb")
        try:
            with translated():
                return self.client.upload_part(
                    Bucket=self.bucket, Key=key, UploadId=multipart_id, PartNumber=number, Body=body
                )["ETag"]
        finally:
            if not isinstance(body, bytes):
                body.close()

    def list(self, key: str, multipart_id: str) -> builtins.list[StoredPart]:
        pages = self.client.get_paginator("list_parts")
        with translated():
            return [
                StoredPart(number=found["PartNumber"], etag=found["ETag"], size_bytes=found["Size"])
                for page in pages.paginate(Bucket=self.bucket, Key=key, UploadId=multipart_id)
                for found in page.get("Parts", [])
            ]

    def complete(self, key: str, multipart_id: str, parts: Sequence[Part]) -> None:
        named = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with translated():
            self.client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=multipart_id,
                MultipartUpload={"Parts": named},  # type: ignore[typeddict-item]  # mypy widens the values
            )

    def abort(self, key: str, multipart_id: str) -> None:
        try:
            with translated():
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=multipart_id)
        except SourceNotFound:
            return

    def list_open(self, prefix: str) -> Iterator[OpenMultipart]:
        pages = self.client.get_paginator("list_multipart_uploads")
        with translated():
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Uploads", []):
                    yield OpenMultipart(
                        key=found["Key"],
                        multipart_id=found["UploadId"],
                        begun_at=found["Initiated"].astimezone(UTC),
                    )
