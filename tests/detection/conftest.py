"""One detector for the session: random weights, small size, on the CPU; with and without a made-up calibration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from styleflow.detection.engine import Detector
from styleflow.models.sizes import SMALL
from styleflow.models.weights import write_random_pack
from styleflow.packs import Calibration, Pack, Training
from styleflow.report import Thresholds

THRESHOLDS = Thresholds(policy="test", weak=0.25, suspicious=0.5, strong=0.75)
CALIBRATION = Calibration(method="platt", slope=2.0, intercept=0.5, thresholds=THRESHOLDS, measured_on="nothing")


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return write_random_pack(tmp_path_factory.mktemp("packs"), SMALL, seed=7)


@pytest.fixture(scope="session")
def detector(pack: Pack) -> Detector:
    return Detector.load(pack)


@pytest.fixture(scope="session")
def calibrated_detector(detector: Detector) -> Detector:
    """The same network with a card that claims training and calibration."""
    claims = {"calibration": CALIBRATION, "training": Training(trained=True, statement="for this test")}
    return replace(detector, card=detector.card.model_copy(update=claims))
