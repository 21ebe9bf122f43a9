from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from styleflow.detection.analyze import analyze
from styleflow.detection.engine import Detector
from styleflow.detection.pipeline import describe, pack_warnings
from styleflow.packs import CONTENT_ONLY
from tests.media import plain_clip


def without_style(detector: Detector) -> Detector:
    """The detector under a card that holds the content branch alone."""
    return replace(detector, card=detector.card.model_copy(update={"components": CONTENT_ONLY}))


def test_a_full_pack_warns_of_nothing(detector: Detector) -> None:
    assert pack_warnings(detector.card) == ()


def test_a_report_names_what_its_card_decided_so_that_another_framing_is_seen(detector: Detector) -> None:
    framed = detector.card.preprocessing.model_copy(update={"style_framing": "ffhq_per_frame"})
    other = replace(detector, card=detector.card.model_copy(update={"preprocessing": framed}))

    told, told_of_other = describe(detector), describe(other)

    assert told_of_other.pack_sha256 == told.pack_sha256
    assert told.scoring_sha256 == detector.card.scoring_sha256 != told_of_other.scoring_sha256


def test_a_content_only_pack_says_so_in_a_report_without_a_face_too(detector: Detector, tmp_path: Path) -> None:
    report = analyze(plain_clip(tmp_path / "things.mp4", seconds=0.4), without_style(detector))

    assert report.reason == "no_face"
    assert [warning.code for warning in report.warnings] == ["content_only"]
    assert report.pipeline.components == CONTENT_ONLY == describe(without_style(detector)).components


def test_where_a_pack_knows_nothing_stands_in_every_report_of_it(detector: Detector) -> None:
    card = detector.card.model_copy(update={"domain": "Measured on talking heads."})
    (warning,) = pack_warnings(card)

    assert (warning.code, warning.message) == ("limited_domain", "Measured on talking heads.")
