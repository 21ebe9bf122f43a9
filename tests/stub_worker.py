"""A worker process whose analyzer is a stub: it waits as long as the video's first line says, then reports no face.

Only tests can start it; no request and no setting reaches it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from styleflow.logging import configure_logging
from styleflow.report import Coverage, MediaFacts, NotApplicableReason, Outcome, Pipeline, VideoReport
from styleflow.settings import Settings
from worker.app import run
from worker.execution import KeepCrop
from worker.fetch import FetchedVideo


class StubAnalyzer:
    """Takes the time that the file says, asking at every step whether to go on."""

    models = ("stub@1",)
    device = "cpu"

    def pipeline(self, model: str) -> Pipeline:
        return report_without_face().pipeline

    def analyze(
        self,
        video: FetchedVideo,
        model: str,
        options: Mapping[str, Any],
        *,
        report_progress: Callable[[dict[str, Any]], None],
        checkpoint: Callable[[], None],
        keep_crop: KeepCrop | None = None,
    ) -> VideoReport:
        until = time.monotonic() + float(video.path.read_text().split()[0])
        report_progress({"phase": "analysing", "clips_done": 0, "clips_total": 1, "fraction": 0.5})
        while time.monotonic() < until:
            checkpoint()
            time.sleep(0.02)
        checkpoint()
        return report_without_face(video.sha256)


def report_without_face(sha256: str | None = None) -> VideoReport:
    """The smallest complete report."""
    return VideoReport(
        outcome=Outcome.NOT_APPLICABLE,
        reason=NotApplicableReason.NO_FACE,
        score=None,
        probability=None,
        verdict=None,
        pooling="mean_logit_max_track",
        thresholds=None,
        media=MediaFacts(container="stub", codec="stub", width=1, height=1, sha256=sha256),
        coverage=Coverage(
            media_seconds=1.0,
            analysed_seconds=1.0,
            frames_decoded=1,
            frames_with_face=0,
            clips_planned=0,
            clips_analysed=0,
            faces_tracked=0,
            sampling="full",
            truncated=False,
        ),
        tracks=(),
        pipeline=Pipeline(
            model="stub@1",
            pack="stub",
            pack_version="1",
            pack_sha256="0" * 64,
            size="stub",
            components=(),
            calibration=None,
            code_version="test",
            device="cpu",
            precision="float32",
            libraries={},
        ),
    )


if __name__ == "__main__":
    settings = Settings()
    configure_logging(settings.log_format)
    lanes = tuple(sys.argv[1].split(",")) if len(sys.argv) > 1 else ("realtime", "standard", "bulk")
    sys.exit(run(settings, lanes, lambda _: StubAnalyzer()))
