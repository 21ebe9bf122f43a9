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


def test_a_sample_gets_a_verdict_or_a_stated_abstention_and_a_word_of_where_it_was_measured(pack: Pack) -> None:
    report = analyze(SAMPLES / "grid-lrwp9a.mpg", Detector.load(pack))

    assert (report.outcome, report.reason) in ((Outcome.SCORED, None), (Outcome.INCONCLUSIVE, "ambiguous_evidence"))
    assert (report.verdict is None) == (report.outcome is not Outcome.SCORED)
    assert report.verdict in (None, *Verdict)
    assert pack.card.domain in {warning.message for warning in report.warnings if warning.code == "limited_domain"}
