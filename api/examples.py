"""Examples for the OpenAPI description, made from the schemas themselves, so that none can go stale.

What a schema says of itself comes first (`examples`, `default`, `const`, the first of an `enum`); the rest is drawn by
the member's name and format. A test holds every example to its schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.schemas.batches import BATCH_EXAMPLE
from api.schemas.jobs import JOB_EXAMPLE

_ULID = "01JD8QJ6ZB5T2Z1V9W3E7R4M0K"
_MOMENT = "2026-11-20T12:31:00.000Z"
_PREFIXES = {
    "job": "job",
    "parent_job": "job",
    "batch": "bat",
    "upload": "upl",
    "event": "evt",
    "endpoint": "whe",
    "callback_endpoint": "whe",
    "delivery": "dlv",
    "replay": "rpl",
    "export": "exp",
    "project": "prj",
    "request": "",
    "webhook_endpoint": "whe",
    "api_key": "key",
    "audit_event": "aud",
}
"""`…_id`, or an `object` that has an `id`, → the prefix of such an id."""
_BY_NAME: Mapping[str, Any] = {
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "bucket": "acme-ugc",
    "key": "2026/11/a.mp4",
    "client_ref": "post-991",
    "model": "styleflow@default",
    "policy": "default",
    "etag": '"9b2cf535f27731c974343645a3985328"',
    "url": "https://hooks.example.org/styleflow",
    "filename": "clip.mp4",
    "content_type": "video/mp4",
    "name": "appeals",
    "description": "moderation",
    "cursor": None,
    "next_cursor": None,
    "track_id": "t1",
    "reason": None,
    "error": None,
    "deadline": None,
    "disabled_reason": None,
    "verdict": "suspicious",
    "score": 1.25,
    "probability": 0.75,
    "pooling": "max_track_mean",
    "clips_total": 12,
    "start_ms": 0,
    "end_ms": 1280,
    "size_bytes": 73400320,
    "media_ms": 5120,
    "analysed_ms": 5120,
    "version": "1",
    "report_version": "1",
    "size": "compact",
}
_BY_FORMAT: Mapping[str, Any] = {
    "date-time": _MOMENT,
    "date": "2026-11-20",
    "uri": "https://hooks.example.org/styleflow",
    "binary": "",
}
_BY_HAND: Mapping[str, Any] = {"Job": JOB_EXAMPLE, "Batch": BATCH_EXAMPLE}
"""Schema → what was written for it with care."""
_DEEPEST = 12


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that fits the JSON schema; `components` are the schemas that `$ref` names, `name` the member's."""
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        named = schema["$ref"].rpartition("/")[2]
        return _BY_HAND.get(named) or example_of(components[named], components, name, depth + 1)
    if "examples" in schema:
        return schema["examples"][0]
    if name in _BY_NAME and _fits(schema, _BY_NAME[name]):
        return _BY_NAME[name]
    for told in ("const", "default"):
        if told in schema:
            return schema[told]
    if "enum" in schema:
        return schema["enum"][0]
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return _of_alternatives(alternatives, components, name, depth)
    if parts := schema.get("allOf"):
        return example_of(parts[0], components, name, depth + 1)
    return _of_type(schema, components, name, depth)


def _of_alternatives(alternatives: Any, components: Mapping[str, Any], name: str, depth: int) -> Any:
    return example_of(next(one for one in alternatives if one.get("type") != "null"), components, name, depth + 1)


def _of_type(schema: Mapping[str, Any], components: Mapping[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            return _of_members(schema.get("properties", {}), components, name, depth)
        case "array":
            fixed = schema.get("prefixItems")
            if fixed:
                return [example_of(item, components, name, depth + 1) for item in fixed]
            fewest = max(1, schema.get("minItems", 1))
            return [example_of(schema.get("items", {}), components, name.removesuffix("s"), depth + 1)] * fewest
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return False
        case "string":
            return _text(schema, name)
    return None


def _of_members(members: Mapping[str, Any], components: Mapping[str, Any], name: str, depth: int) -> Any:
    made = {member: example_of(of, components, member, depth + 1) for member, of in members.items()}
    kind = members.get("object", {}).get("const")
    if kind in _PREFIXES and "id" in made:
        made["id"] = f"{_PREFIXES[kind]}_{_ULID}"
    if name == "links":
        address = f"/v1/jobs/job_{_ULID}"
        made = {member: address if member == "self" else f"{address}/{member}" for member in made}
    return made


def _number(schema: Mapping[str, Any]) -> float:
    """1 where it may be, else the least that may be."""
    low: float = schema.get("minimum", schema.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in schema))
    high: float = schema.get("maximum", 1)
    return low if low > 0 else min(1, high)


def _text(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("format") in _BY_FORMAT:
        return str(_BY_FORMAT[schema["format"]])
    if name.endswith("_at"):
        return _MOMENT
    owner = name.removesuffix("_id")
    if owner != name and owner in _PREFIXES:
        return f"{_PREFIXES[owner]}_{_ULID}".removeprefix("_")
    return (name or "text")[: schema.get("maxLength", 64)]


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether the schema, or one of its alternatives, takes a value of that type and, for an `enum`, that value."""
    kinds = {bool: {"boolean"}, int: {"integer", "number"}, float: {"number"}, str: {"string"}, type(None): {"null"}}
    parts = schema.get("anyOf", (schema,))
    return any(part.get("type") in kinds[type(value)] and value in part.get("enum", (value,)) for part in parts)
