"""Where items come from: a manifest, a prefix of a bucket, or the request itself; each can go on where it ended.

What is read here holds no transaction open. An entry carries the checkpoint behind it: whoever stores both in one
transaction can be killed at any moment and neither loses nor repeats an item.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from styleflow.batches.items import Item, Rules, Wrong, flat, read_item, wrong
from styleflow.batches.manifests import RawLine, lines, read_header, read_record, text_of
from styleflow.batches.store import Placed
from styleflow.errors import InvalidRequest, RequestError, SourceNotFound
from styleflow.storage.bucket import Bucket
from styleflow.storage.keys import PRIVATE_PREFIXES

Checkpoint = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that was read, and where to go on behind it. `placed` is None for a line that lists nothing."""

    placed: Placed | None
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True)
class Shelves:
    """Which buckets there are, and what an item may name."""

    bucket_named: Callable[[str], Bucket]
    """Raises SourceNotAllowed for a bucket that is not on the allow-list."""
    rules: Rules


def entries(source: Mapping[str, Any], checkpoint: Checkpoint, shelves: Shelves) -> Generator[Entry]:
    """What the source lists behind the checkpoint.

    Raises what makes the whole list unreadable: SourceError leaves, SourceNotAllowed and InvalidRequest; and
    StorageUnavailable, after which it is worth to go on later.
    """
    match source["type"]:
        case "manifest":
            return _manifest(source, checkpoint, shelves)
        case "prefix":
            return _prefix(source, checkpoint, shelves)
        case _:
            return _inline(source["items"], int(checkpoint.get("position", 0)), shelves.rules)


def _inline(items: list[dict[str, Any]], done: int, rules: Rules) -> Generator[Entry]:
    for position, said in enumerate(items[done:], start=done + 1):
        yield Entry(Placed(position, _checked(partial(flat, said), rules)), {"position": position})


def _manifest(source: Mapping[str, Any], checkpoint: Checkpoint, shelves: Shelves) -> Generator[Entry]:
    """Pinned to the version that was met first: an offset into another file would mean nothing."""
    bucket = shelves.bucket_named(source["bucket"])
    etag = checkpoint.get("etag")
    if etag is None:
        facts = bucket.head(source["key"])
        if facts is None:
            raise SourceNotFound("There is no manifest at this address.")
        etag = facts.etag
    offset, number = int(checkpoint.get("offset", 0)), int(checkpoint.get("line", 0))
    columns: list[str] | None = checkpoint.get("columns")
    with bucket.open(source["key"], if_match=etag, start=offset) as chunks:
        for line in lines(chunks, offset=offset, number=number):
            placed = None
            if source["format"] == "csv" and columns is None:
                columns = _header(line)
            else:
                placed = _line(line, columns, shelves.rules)
            yield Entry(placed, {"etag": etag, "offset": line.end, "line": line.number, "columns": columns})


def _header(line: RawLine) -> list[str] | None:
    text = text_of(line)
    return read_header(text) if text else None


def _line(line: RawLine, columns: list[str] | None, rules: Rules) -> Placed | None:
    if line.data is not None and not line.data.strip():
        return None
    return Placed(line.number, _checked(lambda: read_record(text_of(line), columns), rules))


def _prefix(source: Mapping[str, Any], checkpoint: Checkpoint, shelves: Shelves) -> Generator[Entry]:
    """In order of keys, so that the last key says where to go on."""
    name, endings = source["bucket"], tuple(source["extensions"])
    newer_than = source.get("modified_after")
    since = None if newer_than is None else datetime.fromisoformat(newer_than)
    position = int(checkpoint.get("position", 0))
    for found in shelves.bucket_named(name).list_after(source["prefix"], _last_key(checkpoint)):
        wanted = found.key.lower().endswith(endings) and (since is None or found.modified_at > since)
        # Not even counted: what other tenants sent here is nobody's to know.
        wanted = wanted and not (name == shelves.rules.own_bucket and found.key.startswith(PRIVATE_PREFIXES))
        placed = None
        if wanted:
            position += 1
            placed = Placed(position, read_item({"bucket": name, "key": found.key}, shelves.rules))
        yield Entry(placed, {**_behind(found.key), "position": position})


def _behind(key: str) -> Checkpoint:
    """A file's name need not be UTF-8, and what is stored must be."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return {"after_bytes": key.encode(errors="surrogateescape").hex()}
    return {"after": key}


def _last_key(checkpoint: Checkpoint) -> str | None:
    if (raw := checkpoint.get("after_bytes")) is not None:
        return bytes.fromhex(raw).decode(errors="surrogateescape")
    return checkpoint.get("after")


def _checked(say: Callable[[], Mapping[str, Any]], rules: Rules) -> Item | Wrong:
    try:
        return read_item(say(), rules)
    except RequestError as error:
        return wrong(error)


def manifest_address(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://BUCKET/KEY`, the key as it stands. Raises InvalidRequest."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise InvalidRequest("a manifest's address is s3://BUCKET/KEY")
    return bucket, key
