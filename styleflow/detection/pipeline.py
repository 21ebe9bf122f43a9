"""The record of what ran."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from styleflow.detection.engine import Detector
from styleflow.packs import Calibration, PackCard
from styleflow.report import Pipeline, ReportWarning

LIBRARIES = ("torch", "torchvision", "facenet-pytorch", "av", "numpy", "opencv-python-headless")


def describe(detector: Detector) -> Pipeline:
    """What a report says about the detector that made it."""
    card = detector.card
    return Pipeline(
        model=card.model,
        pack=card.name,
        pack_version=card.version,
        pack_sha256=card.weights.sha256,
        size=card.size,
        components=card.components,
        calibration=_calibration_name(card.calibration),
        code_version=_version("styleflow"),
        device=str(detector.device),
        precision=detector.precision,
        libraries=library_versions(),
        scoring_sha256=card.scoring_sha256,
    )


def pack_warnings(card: PackCard) -> tuple[ReportWarning, ...]:
    """What the pack itself keeps a report from saying."""
    found = []
    if card.content_only:
        message = f"The pack {card.model} has no style branch: this is the answer of its content branch alone."
        found.append(ReportWarning(code="content_only", message=message))
    if card.domain:
        found.append(ReportWarning(code="limited_domain", message=card.domain))
    return tuple(found)


@cache
def library_versions() -> Mapping[str, str]:
    """Of the libraries that a score depends on."""
    return {name: _version(name) for name in LIBRARIES}


def _calibration_name(calibration: Calibration | None) -> str | None:
    return f"{calibration.method}: {calibration.measured_on}" if calibration else None


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # run from a tree that was not installed
        return "unknown"
