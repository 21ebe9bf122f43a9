"""Files on their way out: from the service or from where it leads, to a path, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from styleflow.client.answers import ExportFile
from styleflow.client.calls import Call, exchange, foreign, part, request_of
from styleflow.client.failures import BadArgument, ServiceUnreachable, UnreadableAnswer
from styleflow.client.lists import every_row
from styleflow.client.retries import next_pause
from styleflow.client.steps import Answer, Broken, Context, Flow, Plan, do, next_chunk, open_stream, pause

Report = Callable[[float], None]
"""Told the share of the whole that is here, 0 to 1."""
MANIFEST = "manifest.json"
_FILE_NAME = re.compile(r"part-\d+\.(csv|jsonl|parquet)")
_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is known of a file before it comes. None is not checked."""

    sha256: str | None = None
    size_bytes: int | None = None


def download_artifact(
    job_id: str, artifact_id: str, path: str | Path, *, progress: Callable[[int], None] | None = None
) -> Plan[Path]:
    """Store one file behind a result, for instance `report`, as `path`, replacing what is there.

    The address that the service leads to carries its own permission, so the API key does not go there. Bytes that
    break off are asked for again from where they ended; `path` appears once all are there. `progress` is told how many
    are. Raises Erased when the time of the file is over, NotFound, OSError.
    """
    address = f"/v1/jobs/{part(job_id)}/artifacts/{part(artifact_id)}"

    def steps(context: Context) -> Flow[Path]:
        return (yield from fetch(context, address, Path(path), Expected(), progress))

    return steps


def download_export(export_id: str, folder: str | Path, *, progress: Report | None = None) -> Plan[list[Path]]:
    """Store the files of a finished export, and its manifest as the last, in `folder`; their paths.

    Each file is checked against the SHA-256 that the service names, and one that is there already and fits is left
    alone, so that a broken run is taken up by the same call. Raises Conflict `result_not_ready`, BadArgument for an
    export that lies in a bucket of your own, UnreadableAnswer for bytes that do not fit, OSError.
    """
    path = f"/v1/exports/{part(export_id)}/files"

    def steps(context: Context) -> Flow[list[Path]]:
        files = yield from every_row(context, path, ExportFile)
        target = Path(folder)
        yield from do(lambda: target.mkdir(parents=True, exist_ok=True))
        whole, done = sum(file.size_bytes for file in files), 0
        for file in files:
            yield from _one_file(context, file, target)
            done += file.size_bytes
            if progress is not None and whole:
                progress(done / whole)
        yield from fetch(context, f"{path}/{MANIFEST}", target / MANIFEST, Expected(), None)
        return [*(target / file.name for file in files), target / MANIFEST]

    return steps


def _one_file(context: Context, file: ExportFile, folder: Path) -> Flow[None]:
    if file.url is None:
        raise BadArgument(f"the files of this export lie in your own bucket: {file.key}")
    if not _FILE_NAME.fullmatch(file.name):  # it becomes a path here
        raise UnreadableAnswer(f"{file.name!r} is no file of an export")
    target = folder / file.name
    if (yield from do(lambda: target.is_file() and _digest(target) == file.sha256)):
        return
    yield from fetch(context, file.url, target, Expected(sha256=file.sha256, size_bytes=file.size_bytes), None)


def fetch(
    context: Context, address: str, path: Path, expected: Expected, progress: Callable[[int], None] | None
) -> Flow[Path]:
    """Store what an address of the service leads to, as `path`; see `download_artifact`."""
    arriving = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        sink = yield from do(lambda: Sink(arriving.open("w+b"), progress))
        try:
            yield from _until_whole(context, address, sink)
            yield from do(lambda: sink.check(expected))
        finally:
            sink.file.close()
        yield from do(lambda: os.replace(arriving, path))
    finally:
        arriving.unlink(missing_ok=True)
    return path


class Sink:
    """The bytes so far."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self.file = file
        self.size = 0
        self._digest = hashlib.sha256()
        self._progress = progress

    def begin_anew(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size, self._digest = 0, hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.size += len(chunk)
        self._digest.update(chunk)
        if self._progress is not None:
            self._progress(self.size)

    def check(self, expected: Expected) -> None:
        """Raises UnreadableAnswer."""
        self.file.flush()
        if expected.size_bytes not in (None, self.size):
            raise UnreadableAnswer(f"{self.size} bytes came where {expected.size_bytes} were named")
        if expected.sha256 not in (None, self._digest.hexdigest()):
            raise UnreadableAnswer("the bytes do not have the SHA-256 that was named")


def _until_whole(context: Context, address: str, sink: Sink) -> Flow[None]:
    """As long as bytes come, a break is no failure: only tries that bring none are counted."""
    failures = 0
    while True:
        before = sink.size
        broken = yield from _read(context, address, sink)
        if broken is None:
            return
        failures = 1 if sink.size > before else failures + 1
        seconds = next_pause(context.retries, failures, asked=None, remaining=None, random=context.random())
        if seconds is None:
            raise ServiceUnreachable(f"the file broke off after {sink.size} bytes: {broken.message}")
        yield from pause(seconds)


def _read(context: Context, address: str, sink: Sink) -> Flow[Broken | None]:
    """Read on from where the sink ends. What broke it off, if anything did."""
    answer = yield from _opened(context, address, sink.size)
    if isinstance(answer, Broken):
        return answer
    if answer.status == 416:
        return (yield from _behind_the_end(answer, sink))
    if sink.size and not _goes_on(answer, sink.size):
        yield from do(sink.begin_anew)
    while True:
        chunk = yield from next_chunk()
        if chunk is None or isinstance(chunk, Broken):
            return chunk
        yield from do(partial(sink.add, chunk))


def _opened(context: Context, address: str, offset: int) -> Flow[Answer | Broken]:
    """A fresh address each time: the one before may have ended."""
    asked = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if offset:
        asked["Range"] = f"bytes={offset}-"
    call: Call[Any] = Call(method="GET", path=address, headers=asked, read=lambda answer: answer)
    answer = yield from exchange(context, request_of(context, call), repeatable=True, streamed=True)
    if answer.is_success:
        return answer
    if answer.status not in (302, 303, 307) or "location" not in answer.headers:
        raise UnreadableAnswer(f"expected a file, not HTTP {answer.status}", status=answer.status)
    return (yield from _elsewhere(context, answer.headers["location"], asked))


def _elsewhere(context: Context, location: str, asked: dict[str, str]) -> Flow[Answer | Broken]:
    request = foreign(context, "GET", location, asked, None)
    answer = yield from open_stream(request)
    if isinstance(answer, Broken) or answer.is_success or (answer.status == 416 and "Range" in asked):
        return answer
    if answer.status >= 500 or answer.status in (403, 429):  # 403: that address ended meanwhile
        return Broken(f"the store answered HTTP {answer.status}")
    raise UnreadableAnswer(f"the store answered HTTP {answer.status}", status=answer.status)


def _behind_the_end(answer: Answer, sink: Sink) -> Flow[Broken | None]:
    """Nothing is left to be read: all is here, or the file is another one by now and is read from its start."""
    if answer.headers.get("content-range") == f"bytes */{sink.size}":
        return None
    yield from do(sink.begin_anew)
    return Broken("the file became shorter")


def _goes_on(answer: Answer, offset: int) -> bool:
    found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    return answer.status == 206 and found is not None and int(found[1]) == offset


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
