"""From options to the members of a request. Pure, but for the template's file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from styleflow.cli.remote.sources import lines_of, source_of
from styleflow.errors import InvalidRequest


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` each. Raises InvalidRequest."""
    found = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise InvalidRequest(f"{option} takes NAME=VALUE, not {text!r:.80}")
        found[name] = value
    return found


def template_in(path: Path | None) -> dict[str, Any]:
    """The members of a request that have no option of their own. Raises InvalidRequest for what is no JSON object."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it is no JSON: {error}"
        raise InvalidRequest(f"the template {path} cannot be used: {reason}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"the template {path} must hold a JSON object")
    if "source" in found:
        raise InvalidRequest(f"the template {path} must name no source: sources are given beside it")
    return found


def merged(template: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Options over the template; of names and values, both."""
    body = dict(template)
    for name, value in options.items():
        if value in (None, {}):
            continue
        body[name] = {**body.get(name, {}), **value} if isinstance(value, dict) else value
    return body


def moment_given(text: str | None) -> str | None:
    """A day means its beginning in UTC. Raises InvalidRequest for what is neither that nor RFC 3339."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(f"{text!r:.80} is no moment: write 2026-11-20 or 2026-11-20T12:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def listed_source(
    named: Iterable[str],
    list_file: str | None,
    standard_input: IO[str],
    *,
    manifest: str | None,
    prefix: str | None,
    extensions: list[str],
    modified_after: str | None,
) -> dict[str, Any]:
    """The `source` of a batch: exactly one of the three kinds. Raises InvalidRequest."""
    items = [*named, *(read_list(list_file, standard_input) if list_file else [])]
    if sum((bool(items), manifest is not None, prefix is not None)) != 1:
        raise InvalidRequest("a batch has one kind of source: --manifest, --prefix, or videos that are named here")
    if prefix is None and (extensions or modified_after):
        raise InvalidRequest("--extension and --modified-after go with --prefix")
    if manifest is not None:
        return {"type": "manifest", "uri": manifest, "format": "csv" if manifest.lower().endswith(".csv") else "jsonl"}
    if prefix is not None:
        return {"type": "prefix", **_prefix(prefix), **_given(extensions=extensions, modified_after=modified_after)}
    return {"type": "inline", "items": [{"source": _addressed(item)} for item in dict.fromkeys(items)]}


def _prefix(text: str) -> dict[str, str]:
    scheme, _, rest = text.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme.lower() != "s3" or not bucket:
        raise InvalidRequest(f"--prefix takes s3://BUCKET/PREFIX, not {text!r:.80}")
    return {"bucket": bucket, "prefix": prefix}


def _addressed(text: str) -> Mapping[str, str]:
    source = source_of(text) if "://" in text else None
    if source is None or source.body is None:
        raise InvalidRequest(f"{text!r:.80} is a file: send files with `styleflow jobs submit`")
    return source.body


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


def read_list(list_file: str, standard_input: IO[str]) -> list[str]:
    """Sources in a file, or on standard input (`-`). Raises InvalidRequest."""
    if list_file == "-":
        return list(lines_of(standard_input))
    try:
        with open(list_file, encoding="utf-8", errors="surrogateescape") as file:
            return list(lines_of(file))
    except OSError as error:
        raise InvalidRequest(f"the list {list_file} cannot be read: {error.strerror}") from error
