"""A full pack and a content-only one in one worker: who hears the style branch, and who says that there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styleflow.detection.analyze import AnalysisOptions, analyze
from styleflow.detection.engine import Detector
from styleflow.models.checkpoints import Sources, Wishes, import_checkpoints
from styleflow.models.detector import ClipOutput, StyleFlowDetector
from styleflow.models.published import STAGE_TWO
from styleflow.models.sizes import SMALL
from styleflow.packs import COMPONENTS, CONTENT_ONLY, Calibration, Pack, read_pack, write_card
from styleflow.report import Outcome, Thresholds, VideoReport, report_from_json
from tests.journeys.conftest import SAMPLES, Service
from tests.models.official_states import content_only, official, write_checkpoints

SAMPLE = SAMPLES / "grid-lrwp9a.mpg"
CALIBRATION = Calibration(
    method="platt",
    slope=1.0,
    thresholds=Thresholds(policy="test", weak=0.25, suspicious=0.5, strong=0.75),
    measured_on="nothing: claimed by this test",
)


def claimed_calibrated(pack: Pack) -> Pack:
    write_card(pack.card.model_copy(update={"calibration": CALIBRATION}), pack.directory)
    return read_pack(pack.directory)


@pytest.fixture(scope="module")
def full_and_content_only(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Pack]:
    """Both imported from checkpoints in their official layout; the content branch is the same."""
    home = tmp_path_factory.mktemp("imported")
    files = write_checkpoints(home / "checkpoints", SMALL, seed=5)
    torch.save(content_only(official(STAGE_TWO, SMALL, seed=5)), home / "ftcn.pth")
    full = import_checkpoints(home / "packs", Sources(**files), SMALL, Wishes(version="1", default=True))
    content = import_checkpoints(home / "packs", Sources(stage_two=home / "ftcn.pth"), SMALL, Wishes(version="1"))
    return claimed_calibrated(full.pack), claimed_calibrated(content.pack)


@pytest.fixture(scope="module")
def packs(full_and_content_only: tuple[Pack, Pack]) -> Path:
    """The folder that this module's service serves."""
    return full_and_content_only[0].directory.parent


def report_of(service: Service, model: str) -> VideoReport:
    job = service.submit(SAMPLE.read_bytes(), model=model)
    settled = service.settled(job["id"])
    assert settled["state"] == "succeeded", settled
    return report_from_json(service.client.get(f"/v1/jobs/{job['id']}/report").json())


def test_one_worker_serves_both_and_each_report_names_what_ran(
    service: Service, full_and_content_only: tuple[Pack, Pack]
) -> None:
    full, content = full_and_content_only

    of_full, of_content = (report_of(service, pack.card.model) for pack in (full, content))

    for report, pack in ((of_full, full), (of_content, content)):
        ran = report.pipeline
        assert (ran.model, ran.pack, ran.pack_version) == (pack.card.model, pack.card.name, pack.card.version)
        assert ran.pack_sha256 == pack.card.weights.sha256
        assert report.outcome is Outcome.SCORED
    assert (of_full.pipeline.components, of_content.pipeline.components) == (COMPONENTS, CONTENT_ONLY)
    assert [warning.code for warning in of_full.warnings] == []
    assert [warning.code for warning in of_content.warnings] == ["content_only"]
    assert of_full.score != of_content.score
    assert set(of_content.tracks[0].frames.flow_fine) == {None}
    assert any(of_full.tracks[0].frames.flow_fine)


def test_a_model_that_is_not_served_is_refused_with_those_that_are(
    service: Service, full_and_content_only: tuple[Pack, Pack]
) -> None:
    source = {"type": "upload", "upload_id": service.upload(SAMPLE.read_bytes())}

    answer = service.client.post("/v1/jobs", json={"source": source, "model": "styleflow-paper@1"})

    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "unknown_model")
    assert set(problem["served"]) == {"styleflow@default", *(pack.card.model for pack in full_and_content_only)}


class FlickeringStyle(nn.Module):
    """A detector whose style branch is shown every second frame as a negative. The content branch sees what it saw."""

    def __init__(self, network: StyleFlowDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, content: Tensor, style: Tensor) -> ClipOutput:
        flickering = style.clone()
        flickering[:, ::2] *= -1
        output: ClipOutput = self.network(content, flickering)
        return output


def scores(pack: Pack) -> tuple[float, float]:
    """Of the sample's first second as it is, and with nothing but the style branch's input altered."""
    detector = Detector.load(pack)
    altered = replace(detector, network=FlickeringStyle(detector.network))  # type: ignore[arg-type]
    options = AnalysisOptions(end_seconds=1.4)
    before, after = (analyze(SAMPLE, one, options=options).score for one in (detector, altered))
    assert before is not None
    assert after is not None
    return before, after


def test_changing_only_the_style_input_changes_the_score_of_the_full_pack_alone(
    full_and_content_only: tuple[Pack, Pack],
) -> None:
    full, content = full_and_content_only

    (heard, heard_otherwise), (deaf, deaf_again) = scores(full), scores(content)

    # further than two computations of one network may be apart for a worker to serve it
    assert abs(heard - heard_otherwise) > full.card.tolerance["float32"] * max(1.0, abs(heard))
    assert deaf == deaf_again
