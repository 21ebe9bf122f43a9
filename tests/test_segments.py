"""The laws of segments, and a few by hand."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from styleflow.segments import Rule, Segment, find_segments, highest, usual_rule

RULE = Rule(enter=0.7, leave=0.5, min_ms=0, gap_ms=0)
scores_ = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0])), max_size=40)
rules = st.builds(
    lambda low, high, min_ms, gap_ms: Rule(max(low, high), min(low, high), min_ms, gap_ms),
    *(st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0]),) * 2,
    st.integers(0, 400),
    st.integers(0, 200),
)


def every_40_ms(count: int) -> list[int]:
    return [40 * number for number in range(count)]


def found(scores: list[float | None], rule: Rule = RULE) -> list[tuple[int, int]]:
    return [(part.start_ms, part.end_ms) for part in find_segments(every_40_ms(len(scores)), scores, rule)]


def test_a_stretch_reaches_the_upper_threshold_and_lasts_to_the_lower() -> None:
    scores: list[float | None] = [0.1, 0.5, 0.8, 0.6, 0.5, 0.4, 0.6, 0.6]
    assert find_segments(every_40_ms(8), scores, RULE) == [Segment(40, 160, 0.8, (0.5 + 0.8 + 0.6 + 0.5) / 4)]


def test_a_frame_without_a_score_ends_a_stretch_unless_the_gap_is_small() -> None:
    scores: list[float | None] = [0.8, 0.8, None, 0.8, 0.8]
    assert found(scores) == [(0, 40), (120, 160)]
    assert found(scores, Rule(0.7, 0.5, 0, 80)) == [(0, 160)]


def test_a_short_stretch_counts_when_it_is_merged_into_a_long_one() -> None:
    scores: list[float | None] = [0.8, 0.8, 0.1, 0.8, 0.1, 0.1, 0.1, 0.8]
    assert found(scores, Rule(0.7, 0.5, 100, 80)) == [(0, 120)]


def test_nothing_comes_of_nothing() -> None:
    assert found([]) == found([None] * 5) == found([0.69] * 5) == []


@given(scores_, rules)
def test_segments_keep_the_rule(scores: list[float | None], rule: Rule) -> None:
    times = every_40_ms(len(scores))
    segments = find_segments(times, scores, rule)
    at = dict(zip(times, scores, strict=True))
    for segment in segments:
        between = [score for time, score in at.items() if segment.start_ms <= time <= segment.end_ms]
        inside = [score for score in between if score is not None]
        assert segment.peak == max(inside) >= rule.enter
        assert min(inside) <= segment.mean + 1e-9
        assert segment.mean <= segment.peak + 1e-9
        for edge in (at[segment.start_ms], at[segment.end_ms]):
            assert edge is not None
            assert edge >= rule.leave
        assert segment.end_ms - segment.start_ms >= rule.min_ms
    for before, after in pairwise(segments):
        assert after.start_ms - before.end_ms > rule.gap_ms


@given(scores_, rules)
def test_every_frame_that_enters_lies_in_a_segment_when_none_is_too_short(
    scores: list[float | None], rule: Rule
) -> None:
    loose = Rule(rule.enter, rule.leave, 0, rule.gap_ms)
    times = every_40_ms(len(scores))
    segments = find_segments(times, scores, loose)
    for time, score in zip(times, scores, strict=True):
        if score is not None and score >= rule.enter:
            assert any(part.start_ms <= time <= part.end_ms for part in segments)


@given(scores_, rules)
def test_time_has_no_direction(scores: list[float | None], rule: Rule) -> None:
    last = 40 * (len(scores) - 1)
    mirrored = [(last - end, last - start) for start, end in reversed(found(scores[::-1], rule))]
    assert found(scores, rule) == mirrored


@given(scores_, rules)
def test_a_higher_threshold_never_finds_more_time(scores: list[float | None], rule: Rule) -> None:
    strict = Rule(1.0, rule.leave, rule.min_ms, rule.gap_ms)
    assert sum(end - start for start, end in found(scores, strict)) <= sum(
        end - start for start, end in found(scores, rule)
    )


def test_the_usual_rule_follows_the_threshold_and_never_leaves_the_scale() -> None:
    assert usual_rule(0.6) == Rule(0.6, 0.5, 200, 400)
    assert usual_rule(0.05).leave == 0.0


def test_the_highest_stretches_come_first_then_the_longest_then_the_earliest() -> None:
    found = [
        ("face-1", Segment(0, 400, 0.8, 0.7)),
        ("face-2", Segment(900, 1000, 0.9, 0.8)),
        ("face-1", Segment(500, 1500, 0.8, 0.7)),
        ("face-2", Segment(100, 500, 0.8, 0.9)),
    ]

    assert highest(found, 3) == [found[1], found[2], found[0]]
    assert highest([], 3) == []
