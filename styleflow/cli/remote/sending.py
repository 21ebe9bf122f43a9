"""Handing in one video: upload it where it is a file, ask for its job, and note each step before the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.journal import Entry, Journal
from styleflow.cli.remote.sources import VideoSource, identity, source_of
from styleflow.errors import StyleFlowError

MAX_REFERENCE = 256
ERASED = "erased"
"""The problem code of a repeated request whose effect is gone."""

Progress = Callable[[str, float], None]
"""(source, share of its bytes that were sent)."""


@dataclass(eq=False)
class Refused(Exception):
    """Something that was asked for was not done. `code` is the API's, or `unreachable`; `end` the exit code."""

    end: Exit
    code: str
    message: str
    request_id: str | None = None

    @property
    def sentence(self) -> str:
        told = f"{self.code}: {self.message}"
        return f"{told} (request {self.request_id})" if self.request_id else told

    def as_json(self) -> dict[str, str | None]:
        return {"code": self.code, "message": self.message, "request_id": self.request_id}


class Receiver(Protocol):
    """What of a service takes part in handing in. Every call may raise Refused."""

    @property
    def url(self) -> str: ...

    def upload(self, source: VideoSource, key: str, sent: Callable[[float], None]) -> str:
        """The id of a complete upload of that file. Repeated with the same key it goes on where it stopped."""
        ...

    def create_job(self, body: Mapping[str, Any], key: str) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What became of one source."""

    text: str
    job: Mapping[str, Any] | None = None
    """The job; of one that an earlier run submitted, its id alone."""
    refused: Refused | None = None
    from_journal: bool = False

    def as_json(self) -> dict[str, Any]:
        if self.refused is not None:
            return {"source": self.text, "error": self.refused.as_json()}
        return {"source": self.text, "from_journal": self.from_journal, "job": self.job}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of every video alike: a `POST /v1/jobs` without its source."""

    body: Mapping[str, Any]

    def about(self, source: VideoSource) -> dict[str, Any]:
        """A file is known by its name unless a reference was given; an address speaks for itself."""
        if source.path is None or "client_ref" in self.body:
            return dict(self.body)
        name = source.name.encode(errors="replace").decode()
        return {**self.body, "client_ref": name[-MAX_REFERENCE:]}


def submit(receiver: Receiver, journal: Journal, text: str, order: Order, sent: Progress) -> Submission:
    """Hand in what `text` names, or find in the journal that this was done."""
    try:
        source = source_of(text)
        body = order.about(source)
        entry = journal.begin(identity(source, body, receiver.url), source)
        if entry.job_id is not None:
            return Submission(text=text, job={"id": entry.job_id}, from_journal=True)
        return Submission(text=text, job=_handed_in(receiver, journal, entry, source, body, sent))
    except Refused as refused:
        return Submission(text=text, refused=refused)
    except StyleFlowError as error:
        return Submission(text=text, refused=Refused(Exit.REFUSED, error.code, str(error)))


def _handed_in(
    receiver: Receiver,
    journal: Journal,
    entry: Entry,
    source: VideoSource,
    body: Mapping[str, Any],
    sent: Progress,
) -> Mapping[str, Any]:
    if not entry.is_remembered(datetime.now(UTC)):
        raise _doubtful("it was begun so long ago that the service may have forgotten its Idempotency-Key")
    entry, named = _named(receiver, journal, entry, source, sent)
    try:
        job = receiver.create_job({**body, "source": named}, entry.key)
    except Refused as refused:
        if refused.end is Exit.NOT_FOUND and not entry.is_new:
            raise _doubtful("the upload of an earlier run is gone") from refused
        raise
    journal.submitted(entry, str(job["id"]))
    return job


def _named(
    receiver: Receiver, journal: Journal, entry: Entry, source: VideoSource, sent: Progress
) -> tuple[Entry, Mapping[str, str]]:
    """The `source` of the request. The upload is noted first: the same key must always come with the same body."""
    if source.body is not None:
        return entry, source.body
    if entry.upload_id is None:
        try:
            upload_id = receiver.upload(source, entry.key, lambda share: sent(source.text, share))
        except Refused as refused:
            if refused.code != ERASED or entry.is_new:
                raise
            # It expired, and no job was asked for before the upload was noted: it can begin anew.
            entry = journal.renew(entry, source)
            upload_id = receiver.upload(source, entry.key, lambda share: sent(source.text, share))
        entry = journal.uploaded(entry, upload_id)
    return entry, {"type": "upload", "upload_id": str(entry.upload_id)}


def _doubtful(why: str) -> Refused:
    """Submitting it anew might submit it twice, so a person decides."""
    return Refused(
        Exit.REFUSED,
        "in_doubt",
        f"whether an earlier run submitted it cannot be told, because {why}: look with `styleflow jobs list`, "
        "and submit it with another journal if it is not there",
    )
