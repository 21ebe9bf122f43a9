"""An object of the bucket as an answer, in flat memory: the whole of it, or the range that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from api.byte_ranges import ByteRange, wanted_range
from styleflow.errors import SourceChanged, SourceNotFound
from styleflow.storage.bucket import Bucket, ObjectFacts


def object_answer(request: Request, bucket: Bucket, key: str, media_type: str) -> Response | None:
    """200, or 206 where one range was asked for; None when there is no such object."""
    facts = bucket.head(key)
    if facts is None:
        return None
    ranged = wanted_range(_range_header(request.headers, facts), facts.size_bytes)
    chunks = opened(bucket, key, facts.etag, ranged)
    if chunks is None:
        return None
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private", "ETag": facts.etag}
    if ranged is None:
        headers["Content-Length"] = str(facts.size_bytes)
        return StreamingResponse(chunks, media_type=media_type, headers=headers)
    headers |= {"Content-Length": str(ranged.length), "Content-Range": ranged.content_range(facts.size_bytes)}
    return StreamingResponse(chunks, status_code=206, media_type=media_type, headers=headers)


def opened(
    bucket: Bucket, key: str, if_match: str | None = None, ranged: ByteRange | None = None
) -> Iterator[bytes] | None:
    """The object's chunks, the first one read already, so that a missing object is known before the answer starts."""
    reading = _chunks(bucket, key, if_match, ranged)
    with suppress(SourceNotFound, SourceChanged):
        first = next(reading, b"")
        return _whole(first, reading)
    return None


def _whole(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _chunks(bucket: Bucket, key: str, if_match: str | None, ranged: ByteRange | None) -> Iterator[bytes]:
    start = ranged.first if ranged else 0
    with bucket.open(key, if_match=if_match, start=start) as chunks:
        yield from chunks if ranged is None else _limited(chunks, ranged.length)


def _limited(chunks: Iterator[bytes], length: int) -> Iterator[bytes]:
    while length and (chunk := next(chunks, b"")):
        yield chunk[:length]
        length -= len(chunk[:length])


def _range_header(headers: Mapping[str, str], facts: ObjectFacts) -> str | None:
    """None also where the caller has another version's first part."""
    if headers.get("if-range", facts.etag) != facts.etag:
        return None
    return headers.get("range")
