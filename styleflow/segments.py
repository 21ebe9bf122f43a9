"""Stretches of a face that look manipulated, from the scores of its frames: hysteresis, merging, a least length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

LEAVE_BELOW = 0.1
"""How far below what it needs to reach a stretch may fall before it ends, when nobody says."""
MIN_MS = 200
GAP_MS = 400


@dataclass(frozen=True)
class Rule:
    """Scores from 0 to 1 with `leave <= enter`, times in milliseconds."""

    enter: float
    """A stretch needs a frame that scores so much,"""
    leave: float
    """and goes on in both directions while frames score so much. A frame without a score ends it."""
    min_ms: int
    """Shorter stretches are left out, after merging."""
    gap_ms: int
    """Stretches that are no further apart are one."""


@dataclass(frozen=True)
class Segment:
    """From the time of its first frame to that of its last. `mean` is over all scored frames between them."""

    start_ms: int
    end_ms: int
    peak: float
    mean: float


def usual_rule(enter: float) -> Rule:
    """The rule where nobody asks for another. `enter` is the policy's threshold for `suspicious`."""
    return Rule(enter, max(0.0, enter - LEAVE_BELOW), MIN_MS, GAP_MS)


def highest(found: Iterable[tuple[str, Segment]], most: int) -> list[tuple[str, Segment]]:
    """Of the stretches of all faces, by the faces' ids: the highest first, of those the longest, of those the first."""

    def rank(one: tuple[str, Segment]) -> tuple[float, int, int, str]:
        track_id, segment = one
        return (-segment.peak, segment.start_ms - segment.end_ms, segment.start_ms, track_id)

    return sorted(found, key=rank)[:most]


def find_segments(times_ms: Sequence[int], scores: Sequence[float | None], rule: Rule) -> list[Segment]:
    """In order of time, disjoint, more than `gap_ms` apart. `times_ms` rise and are as many as `scores`."""
    spans: list[tuple[int, int]] = []
    for first, last in _stretches(scores, rule):
        if spans and times_ms[first] - times_ms[spans[-1][1]] <= rule.gap_ms:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return [
        _segment(times_ms, scores, first, last)
        for first, last in spans
        if times_ms[last] - times_ms[first] >= rule.min_ms
    ]


def _stretches(scores: Sequence[float | None], rule: Rule) -> Iterator[tuple[int, int]]:
    """First and last row of each run that stays at `leave` or above and reaches `enter`."""
    for held, rows in groupby(range(len(scores)), key=lambda row: _at_least(scores[row], rule.leave)):
        run = list(rows)
        if held and any(_at_least(scores[row], rule.enter) for row in run):
            yield run[0], run[-1]


def _at_least(score: float | None, threshold: float) -> bool:
    return score is not None and score >= threshold


def _segment(times_ms: Sequence[int], scores: Sequence[float | None], first: int, last: int) -> Segment:
    scored = [score for score in scores[first : last + 1] if score is not None]
    peak = max(scored)
    # Rounding may put the mean of equal scores above them.
    return Segment(times_ms[first], times_ms[last], peak, min(peak, sum(scored) / len(scored)))
