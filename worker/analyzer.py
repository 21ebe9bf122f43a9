"""The detector as the worker's analyzer: packs are loaded once per process; a request's options are read here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
import torch

from styleflow.detection.analyze import AnalysisOptions, KeepCrop, Progress, analyze
from styleflow.detection.engine import Detector
from styleflow.detection.pipeline import describe
from styleflow.errors import ConfigurationError, InternalFailure, ModelUnavailable
from styleflow.packs import Catalog
from styleflow.report import Pipeline, VideoReport
from styleflow.settings import Settings
from styleflow.video.confinement import is_enough
from styleflow.video.decoder_process import SandboxLimits, confinement_here
from styleflow.video.probe import MediaLimits
from worker.fetch import FetchedVideo

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class DetectorAnalyzer:
    """Every pack of the catalogue as a loaded detector, by `name@version`."""

    catalog: Catalog
    detectors: Mapping[str, Detector]
    device: str
    defaults: AnalysisOptions

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(sorted(self.detectors))

    def pipeline(self, model: str) -> Pipeline:
        """Raises ModelUnavailable and UnknownModel."""
        return describe(self._detector(model))

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
        """Raises MediaError leaves, GpuOutOfMemory, ModelUnavailable, and what `checkpoint` raises."""
        return analyze(
            video.path,
            self._detector(model),
            options=replace(analysis_options(options, self.defaults), sha256=video.sha256),
            progress=lambda progress: report_progress(progress_values(progress)),
            checkpoint=checkpoint,
            keep_crop=keep_crop,
        )

    def _detector(self, model: str) -> Detector:
        name = self.catalog.resolve(model).card.model
        if name not in self.detectors:
            raise ModelUnavailable(f"the model {model} is not loaded by this worker")
        return self.detectors[name]


def load_analyzer(settings: Settings) -> DetectorAnalyzer:
    """Load and verify every pack. Raises PackError or ConfigurationError: a worker that cannot judge must not start."""
    catalog = Catalog(settings.packs_directory)
    if not catalog.packs:
        raise ConfigurationError("there is no weights pack to serve: set STYLEFLOW_PACKS_DIRECTORY")
    device = chosen_device(settings.device)
    detectors = {
        pack.card.model: Detector.load(pack, device=device, precision=settings.precision) for pack in catalog.packs
    }
    defaults = AnalysisOptions(
        media_limits=MediaLimits(max_bytes=settings.max_media_bytes, max_seconds=settings.max_media_seconds),
        sandbox_limits=checked_sandbox(settings),
    )
    return DetectorAnalyzer(catalog, detectors, device, defaults)


def checked_sandbox(settings: Settings) -> SandboxLimits:
    """The decoder's limits, once one was started here. Says what confines it; raises ConfigurationError for too little.

    No job is at fault for a machine that cannot decode, so it is found out before one is taken.
    """
    sandbox = SandboxLimits(
        memory_bytes=settings.sandbox_memory_bytes,
        stall_seconds=settings.sandbox_stall_seconds,
        confinement_required=settings.sandbox_required,
    )
    try:
        layers = confinement_here(sandbox)
    except InternalFailure as error:
        raise ConfigurationError(str(error)) from error
    say = log.info if is_enough(layers) else log.warning
    say("decoder_confined", layers=sorted(layers), enough=is_enough(layers))
    return sandbox


def chosen_device(wish: str) -> str:
    """`auto` takes the accelerator where there is one. Asked once per process, in the process that uses it."""
    if wish != "auto":
        return wish
    return "cuda" if torch.cuda.is_available() else "cpu"


def analysis_options(options: Mapping[str, Any], defaults: AnalysisOptions) -> AnalysisOptions:
    """The job's `options` object (api/schemas) over the installation's defaults."""
    sampling, faces, region = (options.get(part) or {} for part in ("sampling", "faces", "region"))
    changes: dict[str, Any] = _given(faces, "max_tracks")
    changes |= {"min_face_px": float(faces["min_size_px"])} if faces.get("min_size_px") is not None else {}
    changes |= {f"{name[:-3]}_seconds": value / 1000 for name, value in _given(region, "start_ms", "end_ms").items()}
    return replace(
        defaults, sampling=replace(defaults.sampling, **_given(sampling, "mode", "clips", "max_clips")), **changes
    )


def progress_values(progress: Progress) -> dict[str, Any]:
    """As it stands in the job's row and in the API's `progress` member."""
    return {
        "phase": progress.phase,
        "clips_done": progress.clips_done,
        "clips_total": progress.clips_total,
        "fraction": round(progress.fraction, 4),
    }


def _given(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}
