"""`styleflow exports`: many rows written into files by the service, and fetched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from styleflow.cli.remote.connection import AsJson, KeyFile, Url
from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.fetching import fetch_file
from styleflow.cli.remote.orders import merged, moment_given, pairs
from styleflow.cli.remote.reaching import reaching
from styleflow.cli.remote.service import Service, part
from styleflow.cli.remote.shown import Columns, Output, complain, field_of, remark, time_of

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Copies of many jobs, tracks or frames in files.")

Id = Annotated[str, typer.Argument(metavar="EXPORT", help="exp_…")]
Format = Annotated[str, typer.Option("--format", help="csv, jsonl or parquet.")]
Rows = Annotated[str, typer.Option("--rows", help="What a row is: jobs, tracks, clips, frames or segments.")]
Into = Annotated[Path | None, typer.Option("--into", metavar="FOLDER", help="Wait, then fetch the files into it.")]
MANIFEST = "manifest.json"
TERMINAL = frozenset({"succeeded", "failed", "canceled"})
LOOK_SECONDS = 1.0

COLUMNS: Columns = {
    "export": field_of("id"),
    "state": field_of("state"),
    "rows": field_of("counts", "rows"),
    "files": field_of("counts", "files"),
    "format": field_of("format"),
    "created": time_of("created_at"),
}
CARD: Columns = {
    "export": field_of("id"),
    "state": field_of("state"),
    "error": field_of("error", "message"),
    "of": lambda export: f"{export['rows']} as {export['format']}",
    "query": field_of("query"),
    "rows": field_of("counts", "rows"),
    "files": field_of("counts", "files"),
    "bytes": field_of("counts", "bytes"),
    "created": time_of("created_at"),
    "finished": time_of("finished_at"),
    "kept until": time_of("expires_at"),
}


@app.command(
    epilog="styleflow exports create --format parquet --verdict strong --since 2026-11-01 --into november\n\n"
    "styleflow exports create --format csv --batch bat_01J… --rows frames"
)
def create(
    file_format: Format = "csv",
    rows: Rows = "jobs",
    field: Annotated[list[str] | None, typer.Option(help="Only these columns, in this order.")] = None,
    state: Annotated[str | None, typer.Option(help="Only jobs in that state.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only jobs with that outcome.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only jobs with that verdict.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only jobs of that batch: bat_…")] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME=VALUE", help="Only jobs with that tag.")] = None,
    since: Annotated[str | None, typer.Option(metavar="MOMENT", help="Only jobs made after it.")] = None,
    until: Annotated[str | None, typer.Option(metavar="MOMENT", help="Only jobs made before it.")] = None,
    into: Into = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Have rows written into files. Filters are those of `styleflow jobs list`."""
    with reaching(url, key_file) as service:
        query = merged(
            {},
            state=state,
            outcome=outcome,
            verdict=verdict,
            batch_id=batch,
            tag=":".join(*pairs([tag], "--tag").items()) if tag else None,
            created_after=moment_given(since),
            created_before=moment_given(until),
        )
        body = merged({}, format=file_format, rows=rows, fields=field, query=query)
        export_rows(service, body, into, Output(as_json))


def export_rows(service: Service, body: dict[str, Any], into: Path | None, output: Output) -> None:
    """Order an export; with a folder also wait for it and fetch its files, and end with what came of it."""
    export = service.order("/v1/exports", body)
    if into is None:
        output.row(export, COLUMNS)
        return
    end = _followed(service, str(export["id"]), None, output)
    if end is Exit.DONE:
        _fetch(service, str(export["id"]), into)
    raise typer.Exit(end)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """List exports, newest first."""
    with reaching(url, key_file) as service:
        Output(as_json).rows(service.pages("/v1/exports", limit), COLUMNS)


@app.command()
def show(export: Id, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show where an export stands."""
    with reaching(url, key_file) as service:
        Output(as_json).card(service.get(f"/v1/exports/{part(export)}"), CARD)


@app.command(epilog="styleflow exports wait exp_01J… --into november")
def wait(
    export: Id,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds.", show_default=False)] = None,
    into: Into = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Wait until an export is done, and fetch its files. Exit code 0 when it succeeded, 1 when not, 6 when late."""
    with reaching(url, key_file) as service:
        end = _followed(service, export, timeout, Output(as_json))
        if end is Exit.DONE and into is not None:
            _fetch(service, export, into)
    raise typer.Exit(end)


def _followed(service: Service, export_id: str, timeout: float | None, output: Output) -> Exit:
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    while (export := service.get(f"/v1/exports/{part(export_id)}"))["state"] not in TERMINAL:
        if time.monotonic() >= deadline:
            complain(f"timed_out: {export_id} is still {export['state']}")
            return Exit.TIMED_OUT
        time.sleep(min(LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
    output.card(export, CARD)
    return Exit.DONE if export["state"] == "succeeded" else Exit.JUDGED_AGAINST


def _fetch(service: Service, export_id: str, folder: Path) -> None:
    """Every file whole and with the SHA-256 that the service names, then the manifest. Raises Refused."""
    count = 0
    for count, file in enumerate(service.pages(f"/v1/exports/{part(export_id)}/files", None), start=1):  # noqa: B007
        fetch_file(service, file, folder)
    fetch_file(service, {"name": MANIFEST, "url": f"/v1/exports/{part(export_id)}/files/{MANIFEST}"}, folder)
    remark(f"{count} {'file' if count == 1 else 'files'} in {folder}")
