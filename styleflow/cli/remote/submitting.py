"""`styleflow jobs submit`: many videos at a time, taken up where a killed run stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from styleflow.cli.remote.connection import AsJson, KeyFile, Url
from styleflow.cli.remote.exits import Exit, worst
from styleflow.cli.remote.journal import Journal
from styleflow.cli.remote.judging import FailOn, end_of_job, said_of
from styleflow.cli.remote.orders import merged, moment_given, pairs, read_list, template_in
from styleflow.cli.remote.parallel import in_parallel
from styleflow.cli.remote.reaching import reaching
from styleflow.cli.remote.sending import Order, Refused, Submission
from styleflow.cli.remote.sending import submit as submit_one
from styleflow.cli.remote.service import Service
from styleflow.cli.remote.settling import bars, settle_all
from styleflow.cli.remote.shown import Columns, Output, Value, complain, remark
from styleflow.errors import InvalidRequest
from styleflow.jobs.state import Lane

WHAT, HOW = "What is asked", "How"
HOPELESS = (Exit.FORBIDDEN, Exit.UNREACHABLE)
"""Ends of one source after which no other needs to be tried."""
STANDS: Columns = {
    "job": lambda value: (value["job"] or {}).get("id"),
    "state": lambda value: (value["job"] or {}).get("state", "known"),
    "found": lambda value: said_of(value["job"]) or None if "state" in (value["job"] or {}) else None,
    "video": lambda value: value["source"],
}


def submit(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="FILE|URL|s3://…", help="Videos.", show_default=False)
    ] = None,
    list_file: Annotated[
        str | None, typer.Option("--from", metavar="LIST", help="A file with a source per line; - is standard input.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until all settled, and tell what was found.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait for all of them.", show_default=False)
    ] = None,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 at this verdict or a graver one.")] = None,
    need_score: Annotated[bool, typer.Option("--need-score", help="Exit with 1 when one could not be judged.")] = False,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="Keeps note of what was submitted: a rerun goes on, and submits nothing twice.", rich_help_panel=HOW
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Sent at a time.", rich_help_panel=HOW)] = 4,
    lane: Annotated[
        Lane | None, typer.Option(help="Which queue.", show_default="standard", rich_help_panel=WHAT)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="NAME@VERSION.", show_default="the installation's", rich_help_panel=WHAT)
    ] = None,
    policy: Annotated[str | None, typer.Option(help="By whose thresholds.", rich_help_panel=WHAT)] = None,
    dedupe: Annotated[
        str | None, typer.Option(metavar="reuse|force|off", help="Of the same bytes.", rich_help_panel=WHAT)
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Can be given several times.", rich_help_panel=WHAT),
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="The same.", rich_help_panel=WHAT)
    ] = None,
    client_ref: Annotated[
        str | None,
        typer.Option(help="Your name for it; one video only.", show_default="a file's name", rich_help_panel=WHAT),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="A webhook endpoint to be told: whe_…", rich_help_panel=WHAT)
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="Not begun by then, it expires: a day or RFC 3339.", rich_help_panel=WHAT),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="JSON with members of the request that have no option here.", rich_help_panel=WHAT),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Submit videos: files, addresses on the web, or objects in buckets that the service may read.

    Files are uploaded first. With --wait a line per settled job, else one per accepted job.
    """
    output = Output(as_json)
    with reaching(url, key_file) as service, ExitStack() as held:
        given = _sources(sources or [], list_file)
        if not wait and (fail_on or need_score or timeout is not None):
            raise InvalidRequest("--timeout, --fail-on and --need-score go with --wait")
        if client_ref is not None and len(given) != 1:
            raise InvalidRequest("--client-ref names one video")
        body = merged(
            template_in(template),
            lane=lane,
            model=model,
            policy=policy,
            dedupe=dedupe,
            tags=pairs(tag or [], "--tag"),
            metadata=pairs(metadata or [], "--metadata"),
            client_ref=client_ref,
            callback={"endpoint_id": endpoint} if endpoint else None,
            deadline=moment_given(deadline),
        )
        tell = held.enter_context(output.arriving(STANDS))
        run = Run(service, held.enter_context(Journal(journal)), Order(body=body), output, tell)
        run.hand_in(given, parallel, quiet=wait)
        if wait and not set(run.ends) & set(HOPELESS):
            run.follow(timeout, parallel, fail_on, need_score=need_score)
        run.sum_up()
    raise typer.Exit(worst(run.ends))


def _sources(named: list[str], list_file: str | None) -> list[str]:
    """Each once. Raises InvalidRequest for a list that cannot be read, and where there is no source at all."""
    found = [*named, *(read_list(list_file, sys.stdin) if list_file else [])]
    if not found:
        raise InvalidRequest("there is nothing to submit: name videos, or a list with --from")
    return list(dict.fromkeys(found))


@dataclass
class Run:
    """One call of the command, as far as it got."""

    service: Service
    journal: Journal
    order: Order
    output: Output
    tell: Callable[[Value], None]
    ends: list[Exit] = field(default_factory=list)
    accepted: dict[str, Submission] = field(default_factory=dict)
    """By job."""
    refused: int = 0
    left: int = 0

    def hand_in(self, texts: list[str], parallel: int, *, quiet: bool) -> None:
        """All of them, until one meets something that would stop every other as well."""
        with bars(len(texts)) as drawn:

            def work(text: str) -> Submission:
                return submit_one(
                    self.service,
                    self.journal,
                    text,
                    self.order,
                    lambda name, share: drawn.step(name, name, share, f"sending {100 * share:.0f} %"),
                )

            self.left = len(texts)
            for done in in_parallel(work, texts, parallel):
                drawn.one_more()
                self.left -= 1
                self._note(done, quiet=quiet)
                if done.refused is not None and done.refused.end in HOPELESS:
                    break

    def _note(self, done: Submission, *, quiet: bool) -> None:
        if done.refused is not None:
            self.refused += 1
            self._refuse(done.text, done.refused)
            return
        assert done.job is not None
        self.accepted[str(done.job["id"])] = done
        if not quiet:
            self.tell(done.as_json())

    def _refuse(self, text: str, refused: Refused) -> None:
        self.ends.append(refused.end)
        complain(f"{text}: {refused.sentence}")
        if self.output.as_json:
            self.output.json({"source": text, "error": refused.as_json()})

    def follow(self, seconds: float | None, parallel: int, fail_on: FailOn | None, *, need_score: bool) -> None:
        """Wait for what was accepted, in this run and in those before."""
        with bars(len(self.accepted)) as drawn:
            for settled in settle_all(self.service, list(self.accepted), seconds, parallel, drawn.job):
                drawn.one_more()
                submission = self.accepted[settled.job_id]
                if settled.refused is not None:
                    self._refuse(submission.text, settled.refused)
                elif settled.job is not None:
                    self.ends.append(end_of_job(settled.job, fail_on, need_score=need_score))
                    self.tell({**submission.as_json(), "job": settled.job})

    def sum_up(self) -> None:
        """In a line on standard error, where there was more than one, or something is left."""
        known = sum(submission.from_journal for submission in self.accepted.values())
        parts = [f"{len(self.accepted) - known} submitted"]
        parts += [f"{known} known from the journal"] if known else []
        parts += [f"{self.refused} refused"] if self.refused else []
        parts += [f"{self.left} not tried"] if self.left else []
        if len(parts) > 1 or len(self.accepted) > 1:
            remark(", ".join(parts))
