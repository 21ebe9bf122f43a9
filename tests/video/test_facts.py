from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.errors import DecoderCrash
from styleflow.report import MediaFacts
from styleflow.video.facts import media_facts
from styleflow.video.probe import MediaLimits

LIMITS = MediaLimits()
HONEST: dict[str, Any] = {
    "container": "mpegts",
    "codec": "h264",
    "stream_index": 0,
    "coded_width": 640,
    "coded_height": 480,
    "pixel_aspect": 1.0,
    "frame_rate": 25.0,
    "duration_seconds": 3.0,
    "frame_count": 75,
    "has_audio": False,
    "size_bytes": 1,
    "rotation_degrees": 90,
    "width": 480,
    "height": 640,
}
SILENT = {"frame_rate": None, "duration_seconds": None, "frame_count": None}
SOUND = HONEST | SILENT | {"codec": None, "width": 0, "height": 0, "rotation_degrees": 0, "duration_seconds": 1e6}


def facts(value: object) -> MediaFacts:
    return media_facts(json.dumps(value).encode(), 5000, LIMITS)


def test_an_honest_header_becomes_facts_with_the_size_that_we_know() -> None:
    told = facts(HONEST)
    assert (told.width, told.height, told.rotation_degrees, told.frame_count_from_header) == (480, 640, 90, 75)
    assert told.size_bytes == 5000


def test_a_header_may_tell_little_and_a_sound_may_be_long() -> None:
    assert facts(HONEST | SILENT).frame_rate is None
    assert (facts(SOUND).codec, facts(SOUND).width) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0),
        ("width", -5),
        ("width", 480.0),
        ("width", "480"),
        ("width", True),
        ("width", 9000),
        ("width", 10**400),
        ("height", None),
        ("rotation_degrees", 45),
        ("rotation_degrees", 360),
        ("rotation_degrees", -90),
        ("container", "hls"),
        ("container", ["mpegts"]),
        ("codec", "h264\x00"),
        ("codec", {"a": 1}),
        ("codec", ""),
        ("pixel_aspect", 0),
        ("pixel_aspect", -1.0),
        ("pixel_aspect", None),
        ("pixel_aspect", 1e300),
        ("frame_rate", 0),
        ("frame_rate", "25"),
        ("frame_rate", 1e9),
        ("frame_rate", 10**400),
        ("duration_seconds", -1),
        ("duration_seconds", 0),
        ("duration_seconds", 1e9),
        ("duration_seconds", [3]),
        ("frame_count", 0),
        ("frame_count", 5001),
        ("frame_count", 7.5),
        ("has_audio", "no"),
        ("has_audio", 0),
    ],
)
def test_a_value_of_another_kind_or_beyond_its_bounds_is_a_crash(name: str, value: object) -> None:
    with pytest.raises(DecoderCrash):
        facts(HONEST | {name: value})


@pytest.mark.parametrize("name", ["frame_rate", "duration_seconds", "pixel_aspect", "width"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_crash(name: str, value: float) -> None:
    with pytest.raises(DecoderCrash):
        facts(HONEST | {name: value})


@pytest.mark.parametrize("name", sorted(HONEST.keys() - {"stream_index", "coded_width", "coded_height", "size_bytes"}))
def test_a_missing_value_is_a_crash(name: str) -> None:
    with pytest.raises(DecoderCrash):
        facts({key: value for key, value in HONEST.items() if key != name})


def test_pictures_within_each_side_but_too_large_in_all_are_a_crash() -> None:
    with pytest.raises(DecoderCrash):
        facts(HONEST | {"width": 8192, "height": 8192})


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "h264", "avi", [], [1], {}, {"a": 1}])
)


@given(st.dictionaries(st.sampled_from(sorted(HONEST)), anything))
def test_whatever_is_said_is_facts_within_the_limits_or_a_crash(changes: dict[str, Any]) -> None:
    try:
        told = facts(HONEST | changes)
    except DecoderCrash:
        return
    assert told.container in LIMITS.containers
    assert told.codec is None or told.codec in LIMITS.codecs
    for number in (told.frame_rate, told.duration_seconds_from_header, told.pixel_aspect):
        assert number is None or (math.isfinite(number) and number > 0)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_header_are_a_crash(payload: bytes) -> None:
    with pytest.raises(DecoderCrash):
        media_facts(payload, 5000, LIMITS)
