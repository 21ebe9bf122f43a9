"""Laws of the words: they rise with the probability, and never grow stronger when a threshold rises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from styleflow.report import Thresholds, Verdict
from styleflow.verdicts import under, verdict
from tests.jobs.reports import scored_report

ORDER = [Verdict.NO_EVIDENCE, Verdict.WEAK, Verdict.SUSPICIOUS, Verdict.STRONG]
CHANCE = st.floats(0, 1)
STEPS = st.tuples(CHANCE, CHANCE, CHANCE).map(sorted)


def words(steps: list[float]) -> Thresholds:
    return Thresholds(policy="p@1", weak=steps[0], suspicious=steps[1], strong=steps[2])


@given(STEPS, CHANCE, CHANCE)
def test_a_higher_probability_never_has_a_weaker_word(steps: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert ORDER.index(verdict(low, words(steps))) <= ORDER.index(verdict(high, words(steps)))


@given(STEPS, CHANCE, st.integers(0, 2), CHANCE)
def test_a_higher_threshold_never_makes_a_word_stronger(
    steps: list[float], probability: float, which: int, rise: float
) -> None:
    raised = list(steps)
    raised[which] = min(1.0, raised[which] + rise)
    raised = [max(raised[: place + 1]) for place in range(3)]

    assert ORDER.index(verdict(probability, words(raised))) <= ORDER.index(verdict(probability, words(steps)))


def test_a_threshold_itself_belongs_to_the_higher_word() -> None:
    steps = words([0.2, 0.5, 0.9])

    assert [verdict(p, steps) for p in (0.19, 0.2, 0.5, 0.9)] == ORDER


def test_other_thresholds_change_the_word_and_nothing_that_was_found() -> None:
    report = scored_report()

    changed = under(report, words([0.8, 0.9, 0.95]))

    assert (changed.verdict, changed.thresholds) == (Verdict.NO_EVIDENCE, words([0.8, 0.9, 0.95]))
    assert (changed.score, changed.probability, changed.tracks) == (report.score, report.probability, report.tracks)
