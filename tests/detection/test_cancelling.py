from __future__ import annotations

import time
from pathlib import Path

import pytest

from styleflow.detection.analyze import analyze
from styleflow.detection.engine import Detector
from styleflow.errors import Cancelled
from styleflow.video import decoder_process
from tests.video.impostor import impostor


@pytest.mark.parametrize("script", ["ticks(1.0)", "facts_and_plan(); ticks(1.0)"], ids=["facts", "frames"])
def test_an_analysis_can_be_cancelled_while_the_decoder_works_towards_something(
    monkeypatch: pytest.MonkeyPatch, detector: Detector, tmp_path: Path, script: str
) -> None:
    """A decoder on its way to a far start gives signs of life for minutes and no frame."""
    monkeypatch.setattr(decoder_process, "PACKAGE_ROOT", impostor(tmp_path / "installation", script))
    (tmp_path / "a.ts").write_bytes(bytes(1000))
    started = time.monotonic()

    def checkpoint() -> None:
        if time.monotonic() - started > 1.0:
            raise Cancelled

    with pytest.raises(Cancelled):
        analyze(tmp_path / "a.ts", detector, checkpoint=checkpoint)
    assert time.monotonic() - started < 10.0
