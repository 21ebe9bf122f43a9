"""From a probability to a word, by thresholds. The one function that analysis, relabelling and previews share."""

from __future__ import annotations

from dataclasses import replace

from styleflow.report import Thresholds, Verdict, VideoReport


def verdict(probability: float, thresholds: Thresholds) -> Verdict:
    """The word for a probability; a threshold itself belongs to the higher word."""
    if probability >= thresholds.strong:
        return Verdict.STRONG
    if probability >= thresholds.suspicious:
        return Verdict.SUSPICIOUS
    return Verdict.WEAK if probability >= thresholds.weak else Verdict.NO_EVIDENCE


def under(report: VideoReport, thresholds: Thresholds) -> VideoReport:
    """The same findings in the words of other thresholds. Without a score there is no word, and nothing changes."""
    if report.probability is None:
        return report
    return replace(report, verdict=verdict(report.probability, thresholds), thresholds=thresholds)
