"""`styleflow analyze FILE`: judge one video on this machine, without any service."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from styleflow.errors import ConfigurationError, MediaError, RequestError, SourceError, SourceNotFound, StyleFlowError
from styleflow.report import FaceTrack, VideoReport, report_to_json

if TYPE_CHECKING:
    from styleflow.detection.engine import Detector

BAD_INPUT = 2
OUR_FAULT = 1
_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 24


class SamplingMode(StrEnum):
    """How much of the video to look at."""

    AUTO = "auto"
    FULL = "full"
    UNIFORM = "uniform"


def analyze(
    file: Annotated[Path, typer.Argument(help="The video.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    packs: Annotated[
        Path | None, typer.Option(help="The folder of all packs.", show_default="STYLEFLOW_PACKS_DIRECTORY")
    ] = None,
    model: Annotated[str, typer.Option(help="name@version, or styleflow@default.")] = "styleflow@default",
    sampling: Annotated[SamplingMode, typer.Option(help="How much to look at.")] = SamplingMode.AUTO,
    clips: Annotated[int, typer.Option(min=1, help="Windows of uniform sampling.")] = 16,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N; auto takes a GPU if there is one.")] = "auto",
) -> None:
    """Judge one video here and now. Exit code 0 when it was settled, 2 when the input is at fault, 1 when we are."""
    try:
        report = _judge(file, packs, model, sampling, clips, device, quiet=as_json)
    except StyleFlowError as error:
        Console(stderr=True).print(f"{error.code}: {error}", markup=False, soft_wrap=True)
        at_fault = isinstance(error, MediaError | SourceError | RequestError)
        raise typer.Exit(BAD_INPUT if at_fault else OUR_FAULT) from error
    if as_json:
        typer.echo(json.dumps(report_to_json(report), indent=2))
    else:
        show(report, Console())


def _judge(
    file: Path, packs: Path | None, model: str, sampling: SamplingMode, clips: int, device: str, *, quiet: bool
) -> VideoReport:
    # Threads that spin while they wait for each other make a busy machine ten times slower; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from styleflow.detection.analyze import AnalysisOptions
        from styleflow.detection.analyze import analyze as analyze_video
    except ImportError as error:
        raise ConfigurationError("Judging a video here needs more packages; install styleflow[detector].") from error
    from styleflow.packs import sha256_of
    from styleflow.video.clips import Sampling

    console = Console(stderr=True)
    with nullcontext() if quiet else console.status("analysing"):
        try:
            digest = sha256_of(file)
        except OSError as error:
            raise SourceNotFound(f"There is no file {file.name} that can be read.") from error
        detector = _load(packs, model, device)
        return analyze_video(
            file, detector, options=AnalysisOptions(sampling=Sampling(mode=sampling.value, clips=clips), sha256=digest)
        )


def _load(packs: Path | None, model: str, device: str) -> Detector:
    import torch

    from styleflow.detection.engine import Detector
    from styleflow.packs import Catalog
    from styleflow.settings import Settings

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    catalog = Catalog(packs or Settings().packs_directory)
    if not catalog.packs:
        raise ConfigurationError(
            "There is no weights pack: `styleflow weights install` brings the shipped one; --packs names another folder"
        )
    return Detector.load(catalog.resolve(model), device=device)


def show(report: VideoReport, console: Console) -> None:
    """Outcome, faces, and how the style flowed over time, for a person to read."""
    answer = f"[bold]{report.outcome}[/bold]" + (f" ({report.reason})" if report.reason else "")
    if report.probability is not None:
        answer += f": {report.verdict}, probability {report.probability:.3f}, score {report.score:+.3f}"
    console.print(answer)
    seen = report.coverage
    console.print(
        f"{seen.frames_decoded} frames ({seen.sampling}), {seen.frames_with_face} with a face, "
        f"{seen.clips_analysed} clips judged, {report.timing_ms.get('total', 0) / 1000:.1f} s"
    )
    ran = report.pipeline
    scoring = f", scoring {ran.scoring_sha256[:12]}" if ran.scoring_sha256 else ""
    console.print(f"model {ran.model}, SHA-256 {ran.pack_sha256[:12]}{scoring}")
    for warning in report.warnings:
        console.print(f"[yellow]{warning.code}[/yellow]: {warning.message}")
    if report.tracks:
        console.print(_faces(report.tracks))


def _faces(tracks: tuple[FaceTrack, ...]) -> Table:
    table = Table(
        Column("face", no_wrap=True),
        Column("seconds", justify="right", no_wrap=True),
        Column("frames", justify="right", no_wrap=True),
        Column("size", justify="right", no_wrap=True),
        Column("clips", justify="right", no_wrap=True),
        Column("prob.", justify="right", no_wrap=True),
        Column("style flow", no_wrap=True),
    )
    for track in tracks:
        table.add_row(
            track.track_id,
            f"{track.start_seconds:.1f}-{track.end_seconds:.1f}",
            str(track.frame_count),
            f"{track.face_size_px:.0f} px",
            str(len(track.clips)),
            "-" if track.probability is None else f"{track.probability:.3f}",
            sparkline(total_flow(track), _SPARK_WIDTH),
        )
    return table


def total_flow(track: FaceTrack) -> list[float | None]:
    """Per frame, the style flow of all levels together; None where there is none."""
    rows = zip(track.frames.flow_coarse, track.frames.flow_middle, track.frames.flow_fine, strict=True)
    known = [[level for level in row if level is not None] for row in rows]
    return [sum(level**2 for level in row) ** 0.5 if row else None for row in known]


def sparkline(values: list[float | None], width: int) -> str:
    """Means over equal parts as bars between the least and the largest; a space where a part has no value."""
    parts = max(1, min(width, len(values)))
    cuts = [part * len(values) // parts for part in range(parts + 1)]
    pieces = [[value for value in values[start:end] if value is not None] for start, end in pairwise(cuts)]
    means = [sum(piece) / len(piece) if piece else None for piece in pieces]
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    return "".join(
        " " if mean is None else _BARS[int((mean - low) / span * (len(_BARS) - 1)) if span else 0] for mean in means
    )
