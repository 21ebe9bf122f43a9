"""`styleflow evaluate MANIFEST`: how good a model is on a set of labelled videos, beside what is trivial."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Column, Table

from styleflow.errors import ConfigurationError, StyleFlowError

if TYPE_CHECKING:
    from styleflow.detection.engine import Detector
    from styleflow.evaluation.report import EvaluationReport
    from styleflow.evaluation.robustness import RobustnessWish
    from styleflow.evaluation.run import CalibrationWish, EvaluationWish, Step

BAD_INPUT = 2
OUR_FAULT = 1
_MEASURED = ("auc", "paired", "AUC lead", "trivial AUC")
_SHOWN = ("real", "fake", *_MEASURED)


class Method(StrEnum):
    """How a logit becomes a probability."""

    PLATT = "platt"
    TEMPERATURE = "temperature"


def evaluate(
    manifest: Annotated[Path, typer.Argument(help="CSV of `styleflow datasets scan`.")],
    model: Annotated[str, typer.Option(help="name@version, or styleflow@default.")] = "styleflow@default",
    packs: Annotated[
        Path | None,
        typer.Option("--packs-directory", help="The folder of all packs.", show_default="STYLEFLOW_PACKS_DIRECTORY"),
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation, test, or all.")] = "validation",
    out: Annotated[Path, typer.Option(help="Folder for predictions and the report.")] = Path("evaluation"),
    seed: Annotated[int, typer.Option(min=0, help="Of resampling, folds and noise.")] = 0,
    resamples: Annotated[int, typer.Option(min=10, help="For the intervals.")] = 1000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Count videos that are missing, unreadable or faceless, and go on.")
    ] = False,
    baseline_manifest: Annotated[
        Path | None, typer.Option(help="Whose train split teaches the trivial baseline; else this manifest's.")
    ] = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="NAME=predictions.jsonl of another model on these videos; repeatable.")
    ] = None,
    left_out: Annotated[
        list[str] | None, typer.Option(help="GENERATOR=predictions.jsonl of a model that never saw it; repeatable.")
    ] = None,
    robustness: Annotated[bool, typer.Option("--robustness", help="Also judge perturbed videos.")] = False,
    perturbation: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    severity: Annotated[list[int] | None, typer.Option(min=1, max=5, help="Only this one; repeatable.")] = None,
    robustness_clips: Annotated[int, typer.Option(min=1, help="Clips of 32 frames a perturbed video.")] = 4,
    calibrate: Annotated[Method | None, typer.Option(help="Propose a calibration, in calibration.json.")] = None,
    synchronise: Annotated[bool, typer.Option("--synchronise", help="With class-wise loss synchronisation.")] = False,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="weak=, suspicious=, strong= (of reals) and cleared= (of fakes), with --calibrate."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N; auto takes a GPU if there is one.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure a model on labelled videos. Exit code 0 when the report was written, 2 when the input is at fault, 1 when
    we are."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _require_lab()
        from styleflow.evaluation.run import EvaluationWish

        wish = EvaluationWish(
            manifest=_readable(manifest),
            out=out,
            command=shlex.join(["styleflow", *sys.argv[1:]]),
            split=split,
            seed=seed,
            resamples=resamples,
            resume=resume,
            skip_bad=skip_bad,
            baseline_manifest=baseline_manifest and _readable(baseline_manifest),
            beside=_named_files(beside, "--beside"),
            left_out=_named_files(left_out, "--left-out"),
            robustness=_robustness(perturbation, severity, robustness_clips, seed) if robustness else None,
            calibration=_calibration(calibrate, rate, synchronise=synchronise),
        )
        report = _run(wish, packs, model, device, quiet=as_json)
    except StyleFlowError as error:
        Console(stderr=True).print(f"{error.code}: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(OUR_FAULT if isinstance(error, ConfigurationError) else BAD_INPUT) from error
    show(report, out, as_json=as_json)


def _require_lab() -> None:
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import sklearn  # noqa: F401

        import styleflow.detection.analyze  # noqa: F401
    except ImportError as error:
        raise ConfigurationError("Evaluating needs more packages; install styleflow[lab].") from error


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path.name}")
    return path


def _named_files(pairs: Sequence[str] | None, option: str) -> dict[str, Path]:
    found = {}
    for pair in pairs or ():
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise typer.BadParameter("give NAME=FILE", param_hint=option)
        found[name] = _readable(Path(file))
    return found


def _robustness(
    perturbations: Sequence[str] | None, severities: Sequence[int] | None, clips: int, seed: int
) -> RobustnessWish:
    from styleflow.evaluation.perturbations import PERTURBATIONS
    from styleflow.evaluation.robustness import RobustnessWish

    unknown = sorted(set(perturbations or ()) - set(PERTURBATIONS))
    if unknown:
        raise typer.BadParameter(f"choose from {', '.join(PERTURBATIONS)}", param_hint="--perturbation")
    return RobustnessWish(
        perturbations=tuple(name for name in PERTURBATIONS if not perturbations or name in perturbations),
        severities=tuple(sorted(set(severities))) if severities else (1, 2, 3, 4, 5),
        max_clips=clips,
        seed=seed,
    )


def _calibration(method: Method | None, pairs: Sequence[str] | None, *, synchronise: bool) -> CalibrationWish | None:
    if method is None:
        return None
    from styleflow.evaluation.calibration import ScalingWish, Synchronisation
    from styleflow.evaluation.operating_points import Rates
    from styleflow.evaluation.run import CalibrationWish

    try:
        given = {name: float(value) for name, _, value in (pair.partition("=") for pair in pairs or ())}
        cleared = given.pop("cleared")
        rates = Rates(cleared_fakes=cleared, **given)
    except (KeyError, TypeError, ValueError) as error:
        message = "give all of weak=, suspicious=, strong= and cleared=, within 0..1 and falling"
        raise typer.BadParameter(message, param_hint="--rate") from error
    scaling = ScalingWish(method=method.value, synchronisation=Synchronisation() if synchronise else None)
    return CalibrationWish(scaling=scaling, rates=rates)


def _run(wish: EvaluationWish, packs: Path | None, model: str, device: str, *, quiet: bool) -> EvaluationReport:
    from styleflow.evaluation.run import evaluate as run_evaluation

    detector = _load(packs, model, device)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        return run_evaluation(wish, detector, _step(bar))


def _step(bar: Progress) -> Step:
    tasks: dict[str, TaskID] = {}

    def step(what: str, done: int, of: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=of)
        bar.update(tasks[what], completed=done)

    return step


def _load(packs: Path | None, model: str, device: str) -> Detector:
    import torch

    from styleflow.detection.engine import Detector
    from styleflow.packs import Catalog
    from styleflow.settings import Settings

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Detector.load(Catalog(packs or Settings().packs_directory).resolve(model), device=device)


def show(report: EvaluationReport, out: Path, *, as_json: bool) -> None:
    """The report's JSON, or its first tables in short and where the rest lies."""
    from styleflow.evaluation.report import plain_rows, report_to_json

    if as_json:
        typer.echo(json.dumps(report_to_json(report), indent=2))
        return
    console = Console()
    for key in ("coverage", "overall", "generators"):
        table = report.table(key)
        chosen = table.columns if key == "coverage" else _short(table.columns)
        # an interval is read whole or not at all; a long name may break
        narrow = [Column(name, min_width=11 if name in _MEASURED else None, overflow="fold") for name in chosen]
        shown = Table(*narrow, title=table.title, title_justify="left", box=SIMPLE)
        for row in plain_rows(table, chosen):
            shown.add_row(*row)
        console.print(shown)
    console.print(f"report: {out / 'evaluation.html'}, {out / 'evaluation.json'}", soft_wrap=True, markup=False)


def _short(columns: Sequence[str]) -> list[str]:
    """Who, how many, and the measures that a person looks at first."""
    return [columns[0], *(name for name in columns[1:] if name in _SHOWN)]
