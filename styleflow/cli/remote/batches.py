"""`styleflow batches`: many videos under one order."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from styleflow.cli.remote import exports
from styleflow.cli.remote.connection import AsJson, KeyFile, Url
from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.judging import end_of_batch
from styleflow.cli.remote.orders import listed_source, merged, moment_given, pairs, template_in
from styleflow.cli.remote.pace import known_of, settled_of
from styleflow.cli.remote.reaching import reaching
from styleflow.cli.remote.service import Service, part
from styleflow.cli.remote.shown import Columns, Output, complain, field_of, time_of
from styleflow.cli.remote.watching import Look, Screen, looks
from styleflow.jobs.state import Lane

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Many videos under one order: submit, watch, stop, mend."
)

Id = Annotated[str, typer.Argument(metavar="BATCH", help="bat_…")]
WHAT, HOW = "What is asked", "How"

COLUMNS: Columns = {
    "batch": field_of("id"),
    "state": field_of("state"),
    "settled": lambda batch: f"{settled_of(batch['counts'])}/{known_of(batch['counts'])}",
    "failed": lambda batch: batch["counts"]["failed"] + batch["counts"]["invalid"],
    "name": field_of("name"),
}
CARD: Columns = {
    "batch": field_of("id"),
    "name": field_of("name"),
    "state": field_of("state"),
    "error": field_of("error", "message"),
    "counts": lambda batch: {name: count for name, count in batch["counts"].items() if count},
    "progress": lambda batch: f"{100 * batch['progress']:.0f} %",
    "done at about": time_of("eta"),
    "worker time": lambda batch: f"{batch['cost']['worker_seconds']:.0f} s",
    "source": lambda batch: {name: value for name, value in batch["source"].items() if value is not None},
    "lane": field_of("lane"),
    "model": field_of("model"),
    "created": time_of("created_at"),
    "listed": time_of("expanded_at"),
    "finished": time_of("finished_at"),
}
ERROR_COLUMNS: Columns = {
    "line": field_of("line"),
    "state": field_of("state"),
    "code": field_of("code"),
    "message": field_of("message"),
    "job": field_of("job_id"),
}


@app.command(
    epilog="styleflow batches submit --name backlog --manifest s3://ugc/2026-11.jsonl --watch\n\n"
    "styleflow batches submit --name daily --prefix s3://ugc/2026/11/ --modified-after 2026-11-20\n\n"
    "styleflow batches submit --name appeals --from list.txt --stop-after-errors 1"
)
def submit(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="URL|s3://…", help="Videos, up to 1000.", show_default=False)
    ] = None,
    list_file: Annotated[
        str | None, typer.Option("--from", metavar="LIST", help="A file with a source per line; - is standard input.")
    ] = None,
    manifest: Annotated[str | None, typer.Option(metavar="s3://…", help="A list in a bucket: .jsonl or .csv.")] = None,
    prefix: Annotated[str | None, typer.Option(metavar="s3://…", help="Everything that begins like this.")] = None,
    extension: Annotated[
        list[str] | None,
        typer.Option(metavar=".EXT", help="With --prefix, and ends like this.", show_default="videos'"),
    ] = None,
    modified_after: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="With --prefix, and is newer: a day or RFC 3339.")
    ] = None,
    name: Annotated[str, typer.Option(help="For people.")] = "batch",
    lane: Annotated[Lane | None, typer.Option(help="Which queue.", show_default="bulk", rich_help_panel=WHAT)] = None,
    model: Annotated[
        str | None, typer.Option(help="NAME@VERSION.", show_default="the installation's", rich_help_panel=WHAT)
    ] = None,
    policy: Annotated[str | None, typer.Option(help="By whose thresholds.", rich_help_panel=WHAT)] = None,
    dedupe: Annotated[
        str | None, typer.Option(metavar="reuse|force|off", help="Of the same bytes.", rich_help_panel=WHAT)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of every job.", rich_help_panel=WHAT)
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="The same.", rich_help_panel=WHAT)
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="A webhook endpoint that is told of every job: whe_…", rich_help_panel=WHAT)
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="JSON with members of the request that have no option here.", rich_help_panel=WHAT),
    ] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(min=1, help="Most jobs of it at a time.", rich_help_panel=HOW)
    ] = None,
    stop_after_errors: Annotated[
        int | None, typer.Option(min=1, help="At so many failures the rest is canceled.", rich_help_panel=HOW)
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Once workers spent so much on it, the rest is canceled.", rich_help_panel=HOW
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            help="Repeated with the same one, nothing is submitted twice.",
            show_default="a new one",
            rich_help_panel=HOW,
        ),
    ] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Stay until it is done.", rich_help_panel=HOW)] = False,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Submit a list of videos: a manifest in a bucket, a prefix of a bucket, or addresses named here."""
    with reaching(url, key_file) as service:
        source = listed_source(
            sources or [],
            list_file,
            sys.stdin,
            manifest=manifest,
            prefix=prefix,
            extensions=extension or [],
            modified_after=moment_given(modified_after),
        )
        defaults = merged(
            {},
            model=model,
            policy=policy,
            dedupe=dedupe,
            tags=pairs(tag or [], "--tag"),
            metadata=pairs(metadata or [], "--metadata"),
            callback={"endpoint_id": endpoint} if endpoint else None,
        )
        body = merged(
            template_in(template),
            name=name,
            lane=lane,
            defaults=defaults,
            max_in_flight=max_in_flight,
            on_item_error="stop_after_n" if stop_after_errors else None,
            max_item_errors=stop_after_errors,
            budget={"worker_seconds": budget} if budget else None,
        )
        batch = service.order("/v1/batches", {**body, "source": source}, key)
        if not watch_it:
            Output(as_json).row(batch, COLUMNS)
            return
        raise typer.Exit(_watched(service, str(batch["id"]), Output(as_json), 1.0, None))


@app.command("list", epilog="styleflow batches list --state running")
def list_(
    state: Annotated[str | None, typer.Option(help="running, paused, completed, …")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """List batches, newest first."""
    with reaching(url, key_file) as service:
        Output(as_json).rows(service.pages("/v1/batches", None if every else limit, state=state), COLUMNS)


@app.command(epilog="styleflow batches show bat_01J… --json | jq .counts")
def show(batch: Id, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show where a batch stands."""
    with reaching(url, key_file) as service:
        Output(as_json).card(service.get(f"/v1/batches/{part(batch)}"), CARD)


@app.command(epilog="styleflow batches watch bat_01J…\n\nstyleflow batches watch bat_01J… --json | jq -c .counts")
def watch(
    batch: Id,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to stay.", show_default=False)] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Stay until a batch is done, with its counts, rate and rest. Exit code 0 when every item succeeded, else 1."""
    with reaching(url, key_file) as service:
        raise typer.Exit(_watched(service, batch, Output(as_json), every, timeout))


def _watched(service: Service, batch: str, output: Output, every: float, timeout: float | None) -> Exit:
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    last: Look | None = None
    with Screen(output) as screen:
        for last in looks(lambda: service.get(f"/v1/batches/{part(batch)}"), every, deadline):
            screen.show(last)
    assert last is not None
    if not last.is_over:
        complain(f"timed_out: {batch} is still {last.batch['state']}")
        return Exit.TIMED_OUT
    return end_of_batch(last.batch)


def _ordered(batch: str, verb: str, as_json: bool, url: str | None, key_file: Path | None) -> None:
    with reaching(url, key_file) as service:
        Output(as_json).row(service.order(f"/v1/batches/{part(batch)}:{verb}"), COLUMNS)


@app.command()
def pause(batch: Id, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Submit no further jobs of a batch. What is queued or running goes on."""
    _ordered(batch, "pause", as_json, url, key_file)


@app.command()
def resume(batch: Id, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Go on with a paused batch."""
    _ordered(batch, "resume", as_json, url, key_file)


@app.command()
def cancel(batch: Id, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Cancel what is left of a batch. Results that there are stay."""
    _ordered(batch, "cancel", as_json, url, key_file)


@app.command()
def retry(batch: Id, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Try again what failed or expired in a batch."""
    _ordered(batch, "retry-failed", as_json, url, key_file)


@app.command(epilog="styleflow batches errors bat_01J… --json > to-mend.jsonl")
def errors(batch: Id, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """List the lines that are wrong and the jobs that failed, as they stand."""
    with reaching(url, key_file) as service:
        Output(as_json).rows(service.lines(f"/v1/batches/{part(batch)}/errors"), ERROR_COLUMNS)


@app.command(epilog="styleflow batches export bat_01J… --format parquet --rows frames --into november")
def export(
    batch: Id,
    file_format: exports.Format = "csv",
    rows: exports.Rows = "jobs",
    into: exports.Into = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Have what was found in a batch written into files."""
    with reaching(url, key_file) as service:
        body = {"batch_id": batch, "format": file_format, "rows": rows}
        exports.export_rows(service, body, into, Output(as_json))
