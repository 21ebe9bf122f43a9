"""The columns that each kind of row has: name, type, where it comes from. Their order here is their order in a file.

Numbers that judge are null unless the outcome is `scored`: the tables hold them so, and nothing here fills a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from styleflow.errors import InvalidRequest
from styleflow.exports.state import Rows


class Kind(StrEnum):
    """The type of a column."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    MOMENT = "timestamp"
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """`source` is SQL over `j` (jobs), `r` (results) and `t` (tracks); empty where the row is made of arrays."""

    name: str
    kind: Kind
    source: str = ""


def _text(name: str, source: str) -> Column:
    return Column(name, Kind.TEXT, source)


def _integer(name: str, source: str) -> Column:
    return Column(name, Kind.INTEGER, f"({source})::numeric::bigint")


def _number(name: str, source: str) -> Column:
    return Column(name, Kind.NUMBER, f"({source})::float8")


def _moment(name: str, source: str) -> Column:
    return Column(name, Kind.MOMENT, source)


def _json(name: str, source: str) -> Column:
    return Column(name, Kind.JSON, f"({source})::text")


def _milliseconds(name: str, source: str) -> Column:
    return Column(name, Kind.INTEGER, f"round(({source})::numeric * 1000)::bigint")


_JOBS = (
    _text("job_id", "j.id"),
    _text("state", "j.state"),
    _text("outcome", "j.outcome"),
    _text("reason", "j.reason"),
    _text("verdict", "j.verdict"),
    _number("score", "j.score"),
    _number("probability", "j.probability"),
    _text(
        "policy",
        "case when j.verdict is not null"
        " then coalesce(j.policy_thresholds ->> 'policy', r.report -> 'thresholds' ->> 'policy') end",
    ),
    _text("client_ref", "j.client_ref"),
    _json("tags", "j.tags"),
    _json("metadata", "j.metadata"),
    _text("batch_id", "j.batch_id"),
    _text("parent_job_id", "j.parent_job_id"),
    _text("lane", "j.lane"),
    _integer("attempt", "j.attempt"),
    _text("source_type", "j.source ->> 'type'"),
    _text(
        "source",
        "case j.source ->> 'type' when 's3' then concat('s3://', j.source ->> 'bucket', '/', j.source ->> 'key')"
        " when 'url' then j.source ->> 'url' else j.source ->> 'upload_id' end",
    ),
    _text("media_sha256", "j.media ->> 'sha256'"),
    _text("media_container", "j.media ->> 'container'"),
    _text("media_codec", "j.media ->> 'codec'"),
    _integer("media_width", "j.media ->> 'width'"),
    _integer("media_height", "j.media ->> 'height'"),
    _integer("media_size_bytes", "j.media ->> 'size_bytes'"),
    _milliseconds("media_duration_ms", "j.media ->> 'duration_seconds_from_header'"),
    _text("model", "j.model"),
    _text("pack", "j.pipeline ->> 'pack'"),
    _text("pack_version", "j.pipeline ->> 'pack_version'"),
    _text("pack_sha256", "j.pipeline ->> 'pack_sha256'"),
    _text("scoring_sha256", "j.pipeline ->> 'scoring_sha256'"),
    _text("code_version", "j.pipeline ->> 'code_version'"),
    _text("device", "j.pipeline ->> 'device'"),
    _text("precision", "j.pipeline ->> 'precision'"),
    _text("error_code", "j.error ->> 'code'"),
    _text("error_message", "j.error ->> 'message'"),
    _moment("created_at", "j.created_at"),
    _moment("started_at", "j.started_at"),
    _moment("finished_at", "j.finished_at"),
)

_TRACKS = (
    _text("job_id", "j.id"),
    _text("client_ref", "j.client_ref"),
    _text("track_id", "t.track_id"),
    _milliseconds("start_ms", "t.summary ->> 'start_seconds'"),
    _milliseconds("end_ms", "t.summary ->> 'end_seconds'"),
    _integer("frame_count", "t.summary ->> 'frame_count'"),
    _number("detection_confidence", "t.summary ->> 'detection_confidence'"),
    _number("face_size_px", "t.summary ->> 'face_size_px'"),
    _number("score", "t.summary ->> 'score'"),
    _number("probability", "t.summary ->> 'probability'"),
    _integer("clip_count", "jsonb_array_length(t.summary -> 'clips')"),
)

_CLIPS = (
    Column("job_id", Kind.TEXT),
    Column("track_id", Kind.TEXT),
    Column("index", Kind.INTEGER),
    Column("start_ms", Kind.INTEGER),
    Column("end_ms", Kind.INTEGER),
    Column("first_frame", Kind.INTEGER),
    Column("last_frame", Kind.INTEGER),
    Column("logit", Kind.NUMBER),
    Column("probability", Kind.NUMBER),
)

_FRAMES = (
    Column("job_id", Kind.TEXT),
    Column("track_id", Kind.TEXT),
    Column("frame_index", Kind.INTEGER),
    Column("t_ms", Kind.INTEGER),
    Column("left", Kind.NUMBER),
    Column("top", Kind.NUMBER),
    Column("right", Kind.NUMBER),
    Column("bottom", Kind.NUMBER),
    Column("detection_confidence", Kind.NUMBER),
    Column("score", Kind.NUMBER),
    Column("flow_coarse", Kind.NUMBER),
    Column("flow_middle", Kind.NUMBER),
    Column("flow_fine", Kind.NUMBER),
    Column("attention", Kind.NUMBER),
)

_SEGMENTS = (
    Column("job_id", Kind.TEXT),
    Column("track_id", Kind.TEXT),
    Column("start_ms", Kind.INTEGER),
    Column("end_ms", Kind.INTEGER),
    Column("peak", Kind.NUMBER),
    Column("mean", Kind.NUMBER),
    Column("enter", Kind.NUMBER),
    Column("leave", Kind.NUMBER),
    Column("policy", Kind.TEXT),
)

COLUMNS: Mapping[Rows, tuple[Column, ...]] = MappingProxyType(
    {Rows.JOBS: _JOBS, Rows.TRACKS: _TRACKS, Rows.CLIPS: _CLIPS, Rows.FRAMES: _FRAMES, Rows.SEGMENTS: _SEGMENTS}
)


def chosen(rows: Rows, fields: Sequence[str] | None) -> tuple[Column, ...]:
    """The columns of that name, in the order given; all of them without names. Raises InvalidRequest."""
    known = {column.name: column for column in COLUMNS[rows]}
    if fields is None:
        return COLUMNS[rows]
    if not fields or len(set(fields)) != len(fields):
        raise InvalidRequest("/fields: name at least one column, and none twice")
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise InvalidRequest(f"/fields: a row of {rows} has {', '.join(known)}")
    return tuple(known[name] for name in fields)
