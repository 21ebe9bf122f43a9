"""The pack that comes with StyleFlow, on a video of the samples."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from styleflow import pack_copies
from styleflow.detection.analyze import analyze
from styleflow.detection.engine import Detector
from styleflow.models.verification import check
from styleflow.models.weights import load_detector
from styleflow.packs import Catalog, Pack
from styleflow.report import FaceCrop, Outcome, Verdict
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


def test_the_pictures_that_are_kept_of_a_sample_show_its_face(pack: Pack) -> None:
    pictures: list[tuple[FaceCrop, bytes]] = []
    detector = Detector.load(pack)

    report = analyze(
        SAMPLES / "anitalker-aiface3.mp4", detector, keep_crop=lambda crop, jpeg: pictures.append((crop, jpeg))
    )

    assert [crop for crop, _ in pictures] == list(report.crops)
    assert len(pictures) == 3
    scores = [crop.score for crop in report.crops]
    assert scores == sorted(scores, reverse=True)
    for _, jpeg in pictures:
        shown = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        [found] = detector.faces.detect([shown.astype(np.uint8)])
        assert len(found) == 1
        assert len(jpeg) < 20_000
