from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.cli.doctor import verdicts
from styleflow.cli.doctor.findings import Finding, State, exit_code, fail, ok, warn
from styleflow.cli.doctor.verdicts import Queue

OK, WARN, FAIL = State.OK, State.WARN, State.FAIL
LANES = ["realtime", "standard", "bulk"]


@pytest.mark.parametrize(
    ("found", "expected", "state", "says"),
    [
        ("0002", "0002", OK, "which this version expects"),
        (None, "0002", FAIL, "no tables"),
        ("0001", "0002", FAIL, "this version expects 0002"),
        ("0003", "0002", FAIL, "newer than 0002"),
        ("0002", None, WARN, "checkout"),
    ],
)
def test_the_schema_must_be_the_one_of_this_version(
    found: str | None, expected: str | None, state: State, says: str
) -> None:
    finding = verdicts.schema(found, expected)
    assert (finding.state, says in finding.found) == (state, True)


@pytest.mark.parametrize(
    ("skew", "uncertainty", "state"),
    [(0.0, 0.01, OK), (-1.9, 0.0, OK), (3.0, 2.0, OK), (3.0, 0.0, WARN), (-90.0, 0.1, WARN), (500.0, 0.1, FAIL)],
)
def test_clocks_may_differ_by_less_than_two_seconds_beyond_what_the_round_trip_leaves_open(
    skew: float, uncertainty: float, state: State
) -> None:
    assert verdicts.clock(skew, uncertainty).state is state


@given(skew=st.floats(-1e6, 1e6), uncertainty=st.floats(0, 10))
def test_the_sign_of_the_skew_decides_only_who_is_ahead(skew: float, uncertainty: float) -> None:
    one, other = verdicts.clock(skew, uncertainty), verdicts.clock(-skew, uncertainty)
    assert one.state is other.state
    if one.state is not OK:
        assert {("ahead of" in one.found), ("ahead of" in other.found)} == {True, False}


@pytest.mark.parametrize(
    ("characters", "readable", "state"),
    [(0, None, FAIL), (15, None, FAIL), (16, None, WARN), (31, True, WARN), (48, None, OK), (48, True, OK)],
)
def test_a_secret_key_is_long_enough(characters: int, readable: bool | None, state: State) -> None:
    assert verdicts.secret_key(characters, readable).state is state


@pytest.mark.parametrize("characters", [16, 48])
def test_another_secret_key_than_the_stored_secrets_were_sealed_under_is_a_failure(characters: int) -> None:
    assert verdicts.secret_key(characters, False).state is FAIL


@pytest.mark.parametrize(
    ("lanes_of", "state", "says"),
    [
        ({}, FAIL, "No worker"),
        ({"a": ["realtime"]}, WARN, "none serves standard and bulk"),
        ({"a": ["realtime"], "b": ["standard", "bulk"]}, OK, "2 workers alive"),
        ({"a": LANES}, OK, "1 worker alive"),
    ],
)
def test_every_lane_needs_a_worker(lanes_of: dict[str, list[str]], state: State, says: str) -> None:
    finding = verdicts.workers(lanes_of, LANES)
    assert (finding.state, says in finding.found) == (state, True)


@pytest.mark.parametrize(
    ("queued", "oldest", "lane", "state"),
    [
        (0, 0.0, "standard", OK),
        (79, 10.0, "standard", OK),
        (80, 10.0, "standard", WARN),
        (100, 10.0, "standard", FAIL),
        (1, 61.0, "realtime", WARN),
        (1, 1801.0, "standard", WARN),
        (1, 1e6, "bulk", OK),
    ],
)
def test_a_backlog_is_worth_a_word_when_it_is_nearly_full_or_late(
    queued: int, oldest: float, lane: str, state: State
) -> None:
    assert verdicts.queues({lane: Queue(queued=queued, oldest_seconds=oldest)}, 100).state is state


@pytest.mark.parametrize(
    ("policy", "limit", "used", "state"),
    [
        ("noeviction", 0, 10**9, OK),
        ("noeviction", 100, 80, OK),
        ("noeviction", 100, 81, WARN),
        ("allkeys-lru", 0, 0, WARN),
    ],
)
def test_redis_must_not_evict_nor_be_nearly_full(policy: str, limit: int, used: int, state: State) -> None:
    assert verdicts.eviction("7.4", policy, limit, used).state is state


@pytest.mark.parametrize(
    ("default", "served", "problems", "state"),
    [
        ("styleflow@default", ["styleflow@default", "a@1"], [], OK),
        ("styleflow@default", ["a@1", "b@1"], [], FAIL),
        ("styleflow@default", [], [], FAIL),
        ("a@1", ["a@1"], ["The card of the pack b-1 is wrong."], FAIL),
    ],
)
def test_the_default_model_must_be_served(default: str, served: list[str], problems: list[str], state: State) -> None:
    assert verdicts.served_model(default, served, problems).state is state


@pytest.mark.parametrize(
    ("calibrated", "trained", "state", "says"),
    [
        (True, True, OK, "whole and calibrated"),
        (False, True, WARN, "inconclusive"),
        (False, False, WARN, "its weights are random"),
    ],
)
def test_a_pack_without_calibration_is_worth_a_word(calibrated: bool, trained: bool, state: State, says: str) -> None:
    finding = verdicts.pack("a@1", calibrated=calibrated, trained=trained, is_default=False)
    assert (finding.state, says in finding.found) == (state, True)


@pytest.mark.parametrize(("enough", "required", "state"), [(True, True, OK), (False, False, WARN), (False, True, FAIL)])
def test_a_weak_sandbox_fails_only_where_a_strong_one_is_required(enough: bool, required: bool, state: State) -> None:
    assert verdicts.sandbox(["network"], enough=enough, required=required).state is state


@pytest.mark.parametrize(
    ("wish", "gpu", "computes", "precision", "state"),
    [
        ("auto", None, False, "float32", OK),
        ("cpu", None, False, "auto", OK),
        ("cuda:0", None, False, "float32", FAIL),
        ("auto", None, False, "float16", FAIL),
        ("auto", "H100", True, "float16", OK),
        ("auto", "H100", False, "float32", FAIL),
        ("cpu", "H100", False, "float32", OK),
    ],
)
def test_no_gpu_is_a_note_unless_one_was_asked_for(
    wish: str, gpu: str | None, computes: bool, precision: str, state: State
) -> None:
    assert verdicts.device(wish, gpu, computes=computes, precision=precision).state is state


@pytest.mark.parametrize(
    ("free", "largest", "state"), [(10 << 30, 5 << 30, OK), (2 << 30, 5 << 30, WARN), (1 << 20, 5 << 30, FAIL)]
)
def test_the_largest_video_should_fit_on_the_disk(free: int, largest: int, state: State) -> None:
    assert verdicts.room(free, largest).state is state


def test_a_variable_that_nothing_reads_is_told_with_a_guess_at_what_was_meant() -> None:
    finding = verdicts.settings_known(["STYLEFLOW_EGRES_ALLOW_HTTP"], ["STYLEFLOW_EGRESS_ALLOW_HTTP", "STYLEFLOW_PORT"])
    assert (finding.state, finding.advice) == (WARN, "Did you mean STYLEFLOW_EGRESS_ALLOW_HTTP?")
    assert verdicts.settings_known(["STYLEFLOW_PORT"], ["STYLEFLOW_PORT"]).state is OK


@pytest.mark.parametrize(("status", "state"), [("ok", OK), ("degraded", WARN), ("unavailable", FAIL), (None, WARN)])
def test_an_api_that_is_not_there_may_be_elsewhere_but_one_that_is_unavailable_fails(
    status: str | None, state: State
) -> None:
    assert verdicts.api("http://a", status, ["broker unreachable"]).state is state


def test_missing_codecs_and_a_missing_light_worker_fail() -> None:
    assert verdicts.codecs("PyAV 18", ["av1"]).state is FAIL
    assert verdicts.codecs("PyAV 18", []).state is OK
    assert verdicts.light_worker(connected=False).state is FAIL
    assert verdicts.light_worker(connected=True).state is OK


@pytest.mark.parametrize(
    ("findings", "strict", "code"),
    [
        ([ok("a", "")], True, 0),
        ([ok("a", ""), warn("b", "", "")], False, 0),
        ([ok("a", ""), warn("b", "", "")], True, 1),
        ([warn("b", "", ""), fail("c", "", "")], False, 2),
        ([warn("b", "", ""), fail("c", "", "")], True, 2),
    ],
)
def test_the_exit_code_tells_the_worst(findings: list[Finding], strict: bool, code: int) -> None:
    assert exit_code(findings, strict=strict) == code


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_are_listed_as_people_do(words: list[str], text: str) -> None:
    assert verdicts.listed(words) == text


@pytest.mark.parametrize(("seconds", "text"), [(90, "90 s"), (720, "12 min"), (18_000, "5 h"), (300_000, "3 d")])
def test_a_duration_is_told_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert verdicts.duration(seconds) == text
