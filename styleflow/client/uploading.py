"""A file on its way: announced with its hash, sent in one piece or in parts, checked, and submitted."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from styleflow.client import job_calls, upload_calls
from styleflow.client.answers import Job, Upload
from styleflow.client.calls import exchange, foreign, keyed
from styleflow.client.failures import BadArgument, UnreadableAnswer
from styleflow.client.steps import Context, FileSlice, Flow, Plan, do

ADDRESSES_AT_ONCE = 50
Report = Callable[[float], None]
"""Told the share of the file that is sent, 0 to 1."""


@dataclass(frozen=True)
class Facts:
    """What is announced of a file."""

    size_bytes: int
    sha256: str


def upload_file(
    path: str | Path,
    *,
    content_type: str | None = None,
    multipart: bool = False,
    idempotency_key: str | None = None,
    progress: Report | None = None,
) -> Plan[Upload]:
    """Send a file. `progress` is told the share sent. The whole takes as long as it takes; each request of it has the
    time of a call, but for the bytes themselves, which may take longer as long as they move.

    Raises OSError when the file cannot be read, BadArgument when it is empty.
    """
    file, key = Path(path), keyed(idempotency_key)["Idempotency-Key"]
    kind = content_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"

    def steps(context: Context) -> Flow[Upload]:
        facts = yield from do(lambda: facts_of(file))
        upload = yield from upload_calls.create(
            file.name[-255:],
            facts.size_bytes,
            content_type=kind,
            sha256=facts.sha256,
            multipart=multipart or None,
            idempotency_key=key,
        )(context)
        if upload.state != "pending":  # an earlier run with this key has sent it
            return upload
        if upload.mode == "multipart":
            parts = yield from _in_parts(context, upload, file, facts, progress)
            return (yield from upload_calls.complete(upload.id, parts=parts)(context))
        yield from _whole(context, upload, file, facts, progress)
        return (yield from upload_calls.complete(upload.id)(context))

    return steps


def submit_file(
    path: str | Path, *, idempotency_key: str | None = None, progress: Report | None = None, **job: Any
) -> Plan[Job]:
    """Send a file and submit it; `job` is what `jobs.create` takes beside the source."""
    key = idempotency_key or str(uuid4())
    sending = upload_file(path, idempotency_key=key, progress=progress)

    def steps(context: Context) -> Flow[Job]:
        upload = yield from sending(context)
        source = {"type": "upload", "upload_id": upload.id}
        return (yield from job_calls.create(source, idempotency_key=key, **job)(context))

    return steps


def facts_of(path: Path) -> Facts:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if not size:
        raise BadArgument(f"{path.name} is empty")
    return Facts(size, digest)


def _whole(context: Context, upload: Upload, path: Path, facts: Facts, progress: Report | None) -> Flow[None]:
    if upload.url is None:
        raise UnreadableAnswer("the service gave no address for the upload")
    content = _slice(path, 0, facts.size_bytes, facts.size_bytes, progress)
    yield from _put(context, upload.method or "PUT", upload.url, upload.headers, content)


def _in_parts(
    context: Context, upload: Upload, path: Path, facts: Facts, progress: Report | None
) -> Flow[list[dict[str, Any]]]:
    """Addresses are asked for some at a time, because they end."""
    if not upload.part_size or upload.part_size < 1:
        raise UnreadableAnswer("the service gave no size for the parts of the upload")
    sent: list[dict[str, Any]] = []
    for numbers in batches_of(-(-facts.size_bytes // upload.part_size), ADDRESSES_AT_ONCE):
        addresses = yield from upload_calls.sign_parts(upload.id, numbers)(context)
        by_number = {address.n: address for address in addresses}
        for number in numbers:
            if number not in by_number:
                raise UnreadableAnswer(f"the service gave no address for part {number}")
            address = by_number[number]
            offset = (number - 1) * upload.part_size
            length = min(upload.part_size, facts.size_bytes - offset)
            content = _slice(path, offset, length, facts.size_bytes, progress)
            etag = yield from _put(context, address.method, address.url, address.headers, content)
            if not etag:
                raise UnreadableAnswer(f"the store gave no ETag for part {number}")
            sent.append({"n": number, "etag": etag})
    return sent


def batches_of(count: int, most: int) -> Iterator[list[int]]:
    """1 to `count`, in lists of at most `most`."""
    for first in range(1, count + 1, most):
        yield list(range(first, min(count, first + most - 1) + 1))


def _slice(path: Path, offset: int, length: int, size: int, progress: Report | None) -> FileSlice:
    report = None if progress is None else (lambda done: progress((offset + done) / size))
    return FileSlice(path=path, offset=offset, length=length, report=report)


def _put(context: Context, method: str, url: str, headers: dict[str, str], content: FileSlice) -> Flow[str]:
    """The bytes, from their start at every try. Gives the ETag of what is stored."""
    request = foreign(context, method, url, {**headers, "Content-Length": str(content.length)}, content)
    unhurried = replace(context, call_seconds=None)
    answer = yield from exchange(unhurried, request, repeatable=True)
    if not answer.is_success:
        raise UnreadableAnswer(f"the store answered HTTP {answer.status}", status=answer.status)
    return answer.headers.get("etag", "")
