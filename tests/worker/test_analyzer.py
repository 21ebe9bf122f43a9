from __future__ import annotations

from styleflow.detection.analyze import AnalysisOptions
from worker.analyzer import analysis_options


def test_an_empty_options_object_gives_the_installation_defaults() -> None:
    defaults = AnalysisOptions()

    assert analysis_options({}, defaults) == defaults
    assert analysis_options({"sampling": None, "faces": {}, "region": {"end_ms": None}}, defaults) == defaults


def test_a_request_chooses_sampling_region_and_faces() -> None:
    chosen = analysis_options(
        {
            "sampling": {"mode": "uniform", "clips": 64, "max_clips": 100},
            "region": {"start_ms": 1500, "end_ms": 2500},
            "faces": {"max_tracks": 2, "min_size_px": 64},
        },
        AnalysisOptions(),
    )

    assert (chosen.sampling.mode, chosen.sampling.clips, chosen.sampling.max_clips) == ("uniform", 64, 100)
    assert (chosen.start_seconds, chosen.end_seconds) == (1.5, 2.5)
    assert (chosen.max_tracks, chosen.min_face_px) == (2, 64.0)
