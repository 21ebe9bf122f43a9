"""From what a line says to an item that can become a job, or to why it cannot. Pure but for the rules it is given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from styleflow.errors import InvalidRequest, MalformedJson, SourceNotAllowed, StyleFlowError
from styleflow.storage.keys import PRIVATE_PREFIXES

MAX_MESSAGE_CHARACTERS = 300
_IDENTITY_BYTES = 16

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
UploadId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=256)]
TagName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^:]+$")]
TagValue = Annotated[str, StringConstraints(max_length=256)]
Scalar = Annotated[str, StringConstraints(max_length=1024)] | bool | int | float | None


class Line(BaseModel):
    """One line of a manifest: an object in a bucket, an address or an upload, and what it is to be called."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    bucket: Name | None = None
    key: Key | None = None
    version_id: Key | None = None
    url: Url | None = None
    upload_id: UploadId | None = None
    client_ref: Reference | None = None
    tags: Annotated[dict[TagName, TagValue], Field(max_length=16)] = Field(default_factory=dict)
    metadata: Annotated[dict[Annotated[str, StringConstraints(max_length=64)], Scalar], Field(max_length=32)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [part for part in (self.bucket or self.key, self.url, self.upload_id) if part is not None]
        if len(named) != 1 or (self.bucket is None) != (self.key is None):
            raise ValueError("name either bucket and key, or url, or upload_id")
        return self


@dataclass(frozen=True, slots=True)
class Item:
    """A video that can become a job. `content` is JSON text: source, client_ref, tags, metadata."""

    identity: bytes
    content: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a line cannot become a job: one of the codes of requests, and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What may be named: the checks raise SourceNotAllowed or InvalidRequest."""

    check_bucket: Callable[[str], object]
    check_url: Callable[[str], object]
    own_bucket: str
    check_key: Callable[[str, str], object]
    """Of a bucket's name and a key: whether there can be such an object at all."""


def read_item(said: Mapping[str, Any], rules: Rules) -> Item | Wrong:
    """What a line says, checked as a job's source and labels are at the door."""
    try:
        line = Line.model_validate(said)
        source = _source(line, rules)
        content = {"source": source, "client_ref": line.client_ref, "tags": line.tags, "metadata": line.metadata}
        return Item(_identity(source), _storable(content))
    except ValidationError as error:
        return wrong(InvalidRequest(_first(error)))
    except (InvalidRequest, SourceNotAllowed) as error:
        return wrong(error)


def read_json(text: str) -> Mapping[str, Any]:
    """One line of JSON Lines. `{"source": {…}, …}` means the same as the members of the source beside the others.

    Raises MalformedJson, InvalidRequest.
    """
    try:
        said = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("this line is not JSON") from error
    if not isinstance(said, dict):
        raise InvalidRequest("this line is no JSON object")
    return flat(said)


def flat(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises InvalidRequest for a source of a type that batches do not take."""
    source = said.get("source")
    if not isinstance(source, dict):
        return said
    if source.get("type") not in ("s3", "url", "upload"):
        raise InvalidRequest("a source in a batch is of type s3, url or upload")
    return {**{name: value for name, value in source.items() if name != "type"}, **_without_source(said)}


def wrong(error: StyleFlowError) -> Wrong:
    return Wrong(error.code, str(error)[:MAX_MESSAGE_CHARACTERS])


def _without_source(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name != "source"}


def _source(line: Line, rules: Rules) -> dict[str, Any]:
    if line.url is not None:
        rules.check_url(line.url)
        return {"type": "url", "url": line.url}
    if line.upload_id is not None:
        # Whether it is there and whose it is, is asked when it becomes a job.
        return {"type": "upload", "upload_id": line.upload_id}
    bucket, key = str(line.bucket), str(line.key)
    rules.check_bucket(bucket)
    rules.check_key(bucket, key)
    if bucket == rules.own_bucket and key.startswith(PRIVATE_PREFIXES):
        raise SourceNotAllowed("The key lies where this service keeps its own objects.")
    return {"type": "s3", "bucket": bucket, "key": key, "version_id": line.version_id}


def _identity(source: Mapping[str, Any]) -> bytes:
    """Of what is to be looked at, whatever it is called: lines with the same one are repetitions of each other."""
    named = json.dumps(list(source.values())).encode()
    return hashlib.blake2b(named, digest_size=_IDENTITY_BYTES).digest()


def _storable(content: Mapping[str, Any]) -> str:
    """PostgreSQL holds no NUL in text, and UTF-8 no half of a surrogate pair."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if "\\u0000" in text:
        raise InvalidRequest("a line must not hold a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("a line must hold whole characters") from error
    return text


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where}: {found['msg']}" if where else str(found["msg"])


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
