"""`styleflow jobs`: look at jobs, wait for them, and act on them. Handing in is in `submitting.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from styleflow.cli.remote.connection import AsJson, KeyFile, Url
from styleflow.cli.remote.evidence import evidence
from styleflow.cli.remote.exits import Exit, worst
from styleflow.cli.remote.judging import FailOn, end_of_job, name_of, said_of, source_of_job
from styleflow.cli.remote.orders import moment_given, pairs
from styleflow.cli.remote.reaching import reaching
from styleflow.cli.remote.sending import Refused
from styleflow.cli.remote.service import Service, part
from styleflow.cli.remote.settling import Settled, bars, settle_all
from styleflow.cli.remote.shown import Columns, Output, age_of, complain, field_of, time_of
from styleflow.cli.remote.sources import lines_of
from styleflow.cli.remote.submitting import submit
from styleflow.jobs.state import JobState, Lane
from styleflow.report import Outcome, Verdict

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Submit videos, wait for their jobs, act on them.")

Ids = Annotated[list[str], typer.Argument(metavar="JOB...", help="job_…; - reads them from standard input.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]

COLUMNS: Columns = {
    "job": field_of("id"),
    "state": field_of("state"),
    "found": lambda job: said_of(job) or None,
    "video": lambda job: name_of(job) or None,
}
CARD: Columns = {
    "job": field_of("id"),
    "state": field_of("state"),
    "found": said_of,
    "error": field_of("error", "message"),
    "score": lambda job: None if job.get("score") is None else f"{job['score']:.3f}",
    "video": name_of,
    "source": source_of_job,
    "sha256": field_of("source", "sha256"),
    "lane": field_of("lane"),
    "model": field_of("model"),
    "tags": field_of("tags"),
    "batch": field_of("batch_id"),
    "retry of": field_of("parent_job_id"),
    "attempt": lambda job: f"{job['attempt']} of {job['max_attempts']}" if job["attempt"] else None,
    "created": time_of("created_at"),
    "started": time_of("started_at"),
    "finished": time_of("finished_at"),
    "kept until": time_of("expires_at"),
}

app.command(
    epilog="styleflow jobs submit clip.mp4 --wait\n\n"
    "styleflow jobs submit --from list.txt --journal run-7.jsonl --parallel 8 --lane bulk\n\n"
    "find videos -name '*.mp4' | styleflow jobs submit --from - --json\n\n"
    "styleflow jobs submit s3://ugc/a.mp4 --wait --fail-on suspicious || echo 'not published'"
)(submit)
app.command(epilog="styleflow jobs evidence job_01J…\n\nstyleflow jobs evidence job_01J… --into case-17")(evidence)


@app.command(
    epilog="styleflow jobs wait job_01J… job_01K… --timeout 600\n\n"
    "styleflow jobs list --state running --json | jq -r .id | styleflow jobs wait -"
)
def wait(
    jobs: Ids,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds for all of them.", show_default=False)] = None,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 at this verdict or a graver one.")] = None,
    need_score: Annotated[bool, typer.Option("--need-score", help="Exit with 1 when one could not be judged.")] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Asked about at a time.")] = 8,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Wait until jobs settled; tell each as it does. Exit code 0 when all succeeded, 6 when the time was over."""
    with reaching(url, key_file) as service:
        wanted = list(dict.fromkeys(_read(jobs)))
        ends = []
        with Output(as_json).arriving(COLUMNS) as tell, bars(len(wanted)) as drawn:
            for settled in settle_all(service, wanted, timeout, parallel, drawn.job):
                drawn.one_more()
                if settled.job is not None:
                    tell(settled.job)
                ends.append(_end(settled, fail_on, need_score=need_score))
    raise typer.Exit(worst(ends))


def _end(settled: Settled, fail_on: FailOn | None, *, need_score: bool) -> Exit:
    if settled.refused is not None:
        complain(settled.refused.sentence)
        return settled.refused.end
    assert settled.job is not None
    return end_of_job(settled.job, fail_on, need_score=need_score)


@app.command(epilog="styleflow jobs show job_01J… --json | jq .verdict\n\nstyleflow jobs show job_01J… --result")
def show(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    result: Annotated[
        bool, typer.Option("--result", help="What was found, with coverage and tracks, as JSON.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Show where one job stands, or what was found."""
    with reaching(url, key_file) as service:
        output = Output(as_json)
        if result:
            output.document(service.get(f"/v1/jobs/{part(job)}/result"))
        else:
            output.card(service.get_job(job), CARD)


@app.command(
    "list",
    epilog="styleflow jobs list --state failed --since 2026-11-20\n\n"
    "styleflow jobs list --tag queue=politics --all --json",
)
def list_(
    state: Annotated[JobState | None, typer.Option()] = None,
    outcome: Annotated[Outcome | None, typer.Option()] = None,
    verdict: Annotated[Verdict | None, typer.Option()] = None,
    lane: Annotated[Lane | None, typer.Option()] = None,
    batch: Annotated[str | None, typer.Option(help="Those of one batch: bat_…")] = None,
    client_ref: Annotated[str | None, typer.Option(help="Those with that reference.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME=VALUE", help="Those with that tag.")] = None,
    since: Annotated[str | None, typer.Option(metavar="MOMENT", help="Those made after it: a day or RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(metavar="MOMENT", help="Those made before it.")] = None,
    limit: Limit = 50,
    every: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """List jobs, newest first."""
    with reaching(url, key_file) as service:
        query = {"state": state, "outcome": outcome, "verdict": verdict, "lane": lane, "batch_id": batch}
        tags = [f"{name}:{value}" for name, value in pairs([tag], "--tag").items()] if tag else [None]
        found = service.pages(
            "/v1/jobs",
            None if every else limit,
            **query,
            client_ref=client_ref,
            tag=tags[0],
            created_after=moment_given(since),
            created_before=moment_given(until),
        )
        Output(as_json).rows(found, {**COLUMNS, "age": age_of("created_at")})


@app.command(epilog="styleflow jobs cancel job_01J…")
def cancel(jobs: Ids, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Ask jobs to stop. One that is finished stays as it is."""
    _each(jobs, as_json, url, key_file, lambda service, job: service.order(f"/v1/jobs/{part(job)}:cancel"))


@app.command(epilog="styleflow jobs list --state failed --json | jq -r .id | styleflow jobs retry -")
def retry(jobs: Ids, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Try failed jobs again, as new jobs; these are shown."""
    _each(jobs, as_json, url, key_file, lambda service, job: service.order(f"/v1/jobs/{part(job)}:retry"))


@app.command(epilog="styleflow jobs rerun job_01J… --model styleflow@2")
def rerun(
    jobs: Ids,
    model: Annotated[str, typer.Option(help="NAME@VERSION.")],
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Judge the videos of finished jobs again by another model, as new jobs; these are shown."""
    body = {"model": model}
    _each(jobs, as_json, url, key_file, lambda service, job: service.order(f"/v1/jobs/{part(job)}:rerun", body))


@app.command(epilog="styleflow jobs delete job_01J… --yes")
def delete(
    jobs: Ids,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Erase finished jobs with their evidence. There is no way back."""

    def erase(service: Service, job: str) -> dict[str, Any]:
        service.delete(f"/v1/jobs/{part(job)}")
        return {"id": job, "state": "erased"}

    confirm("Erase them, and all evidence?", yes=yes)
    _each(jobs, as_json, url, key_file, erase)


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person; without one, `--yes` must have been given."""
    if yes:
        return
    if not sys.stdin.isatty():
        complain("nobody is there to be asked: say --yes")
        raise typer.Exit(Exit.REFUSED)
    if not typer.confirm(question, err=True):
        raise typer.Exit(Exit.REFUSED)


def _each(
    jobs: list[str],
    as_json: bool,
    url: str | None,
    key_file: Any,
    act: Callable[[Service, str], dict[str, Any]],
) -> None:
    """Do it for one after the other; what is refused for one keeps none of the others from being done."""
    with reaching(url, key_file) as service:
        output, ends = Output(as_json), []
        for job in _read(jobs):
            try:
                output.row(act(service, job), COLUMNS)
            except Refused as refused:
                complain(f"{job}: {refused.sentence}")
                ends.append(refused.end)
                if refused.end in (Exit.FORBIDDEN, Exit.UNREACHABLE):
                    break
    raise typer.Exit(worst(ends))


def _read(jobs: list[str]) -> Iterator[str]:
    for job in jobs:
        yield from lines_of(sys.stdin) if job == "-" else [job]
