"""The pack that comes with StyleFlow, on a video of the samples."""

from __future__ import annotations

import pytest

from styleflow import pack_copies
from styleflow.detection.analyze import analyze
from styleflow.detection.engine import Detector
from styleflow.models.verification import check
from styleflow.models.weights import load_detector
from styleflow.packs import Catalog, Pack
from styleflow.report import Outcome, Verdict
from tests.media import SAMPLES


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Catalog(pack_copies.SHIPPED).resolve("styleflow@default")


def test_it_answers_its_golden_clip_as_when_it_was_made(pack: Pack) -> None:
    assert pack.card.golden is not None
    assert check(load_detector(pack, serving=True), pack.card, "float32") == pytest.approx(
        pack.card.golden.logit, abs=1e-3
    )


@pytest.mark.parametrize(
    ("sample", "outcome", "verdict", "reason"),
    [
        ("anitalker-aiface3.mp4", Outcome.SCORED, Verdict.WEAK, None),
        ("grid-lrwp9a.mpg", Outcome.INCONCLUSIVE, None, "ambiguous_evidence"),
    ],
)
def test_a_sample_gets_its_verdict_or_a_stated_abstention_and_a_word_of_what_the_pack_knows(
    pack: Pack, sample: str, outcome: Outcome, verdict: Verdict | None, reason: str | None
) -> None:
    report = analyze(SAMPLES / sample, Detector.load(pack))

    assert (report.outcome, report.verdict, report.reason) == (outcome, verdict, reason)
    assert pack.card.domain in {warning.message for warning in report.warnings if warning.code == "limited_domain"}
