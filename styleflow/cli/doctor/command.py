"""`styleflow doctor`: what of an installation works, what does not, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import styleflow
from styleflow.cli.doctor import database, machine, services
from styleflow.cli.doctor.checking import WORK_SECONDS, Check, examine
from styleflow.cli.doctor.findings import Finding, State, exit_code, fail
from styleflow.cli.up import Home, sentence
from styleflow.settings import Settings

NEIGHBOURS = (
    Check(names=("settings",), run=machine.variables),
    Check(names=database.FINDINGS, run=database.database, modules=("psycopg", "sqlalchemy", "alembic", "cryptography")),
    Check(names=("broker",), run=services.broker, modules=("redis", "celery")),
    Check(names=("bucket",), run=services.bucket, modules=("boto3",)),
    Check(names=("api",), run=services.api),
    Check(names=("scratch",), run=machine.scratch),
)
"""Asked at the same time: what they cost is waiting."""
MACHINE = (
    Check(names=("packs",), run=machine.packs, seconds=WORK_SECONDS),
    Check(names=("codecs",), run=machine.codecs, modules=("av",), extra="detector", needed=State.WARN),
    Check(
        names=("sandbox",),
        run=machine.sandbox,
        modules=("av", "numpy"),
        extra="detector",
        needed=State.WARN,
        seconds=WORK_SECONDS,
    ),
    Check(
        names=("device",),
        run=machine.device,
        modules=("torch",),
        extra="detector",
        needed=State.WARN,
        seconds=WORK_SECONDS,
    ),
)
"""One after the other: what they cost is work. A machine that only serves the API needs none of the last three."""
COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}

EPILOG = """
Exit code 0: nothing failed; 1: only warnings, with --strict; 2: something failed.

styleflow doctor --json | jq -r 'select(.state == "fail") | .check'
"""


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object per finding: check, state, found, advice.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when there are warnings.")] = False,
    home: Home = None,
) -> None:
    """Examine an installation: database, broker, bucket, packs, decoders, confinement, workers, queues.

    It is the one that STYLEFLOW_ variables describe; what they leave out is taken from `styleflow up` of this home.
    Nothing is changed but for a small object that is put into the bucket and deleted again.
    """
    console = Console(highlight=False)
    findings = []
    for finding in _findings(home):
        findings.append(finding)
        if as_json:
            typer.echo(json.dumps(finding.as_json(), ensure_ascii=False))
        elif console.is_terminal:
            console.print(row_of(finding))
        else:
            typer.echo(text_of(finding))
    if not as_json:
        console.print(summary(findings), markup=False)
    raise typer.Exit(exit_code(findings, strict=strict))


def _findings(home: Path | None) -> Iterator[Finding]:
    try:
        settings = settings_of(home)
    except ValidationError as error:
        yield fail("settings", f"{sentence(error)}.", "Mend it first: nothing else was looked at.")
        return
    except OSError as error:
        yield fail("settings", f"The settings of this home cannot be read: {error.strerror}.", "Run as its owner.")
        return
    yield from examine(NEIGHBOURS, settings, together=True)
    yield from examine(MACHINE, settings, together=False)


def settings_of(home: Path | None) -> Settings:
    """The environment's, filled up from the running `styleflow up` of a home. Raises ValidationError and OSError."""
    folder = home or Path(styleflow.__file__).resolve().parents[1] / ".styleflow"
    return Settings(_env_file=folder / "environment")


def row_of(finding: Finding) -> Table:
    """Three columns: state, check, and beneath each other what was found and what to do."""
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=4)
    row.add_column(width=12, overflow="fold")
    row.add_column(overflow="fold")
    row.add_row(f"[{COLOURS[finding.state]}]{finding.state}[/]", finding.check, escape(finding.found))
    if finding.advice:
        row.add_row("", "", f"→ {escape(finding.advice)}", style="dim")
    return row


def text_of(finding: Finding) -> str:
    """The same without a width, so that a sentence stays in one line for whoever searches a log."""
    line = f"{finding.state:<4}  {finding.check:<12}  {finding.found}"
    return f"{line}\n{'':20}→ {finding.advice}" if finding.advice else line


def summary(findings: list[Finding]) -> str:
    """How many of each."""
    count = {state: sum(finding.state is state for finding in findings) for state in State}
    if not count[State.WARN] and not count[State.FAIL]:
        return f"All {len(findings)} checks are well."
    return f"{count[State.OK]} well, {count[State.WARN]} to know of, {count[State.FAIL]} to mend."
