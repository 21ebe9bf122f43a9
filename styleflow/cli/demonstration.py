"""The demonstration itself: the stack, the samples, the receiver, and what is shown of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from styleflow.cli.receiver import Receiver, listening
from styleflow.cli.samples import DemoFailed, Sample, find_samples, follow, keep_report, submit
from styleflow.cli.stack import DEVELOPMENT, Place, checkout_folder, free_port, running_stack
from styleflow.supervisor import Supervisor

JOBS_SECONDS = 900.0
WEBHOOK_SECONDS = 60.0


def demonstrate(console: Console, home: Path) -> list[str]:
    """Run it all; returns what was not as it should be."""
    samples = find_samples(checkout_folder() / "samples")
    place = Place(home=home, checkout=checkout_folder(), host="127.0.0.1", port=free_port("127.0.0.1"))
    console.print(f"starting in {home}", soft_wrap=True)

    def tell(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with listening() as receiver, running_stack(place, {**os.environ, **DEVELOPMENT}, tell=tell) as supervisor:
        tell(f"serving on {place.url}; sending {len(samples)} videos")
        try:
            _while_watched(supervisor, lambda: _journey(console, place, samples, receiver, supervisor))
        finally:
            tell("stopping")
    console.print(table_of(samples, receiver))
    for line in reasons_of(samples):
        console.print(line, markup=False)
    console.print(f"reports: {_reports(place)}/*.json", soft_wrap=True)
    return shortcomings(samples, receiver)


def _while_watched(supervisor: Supervisor, work: Callable[[], None]) -> None:
    """Do the work in a thread: children may only be restarted from the main one."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        working.add_done_callback(lambda _: supervisor.wake())
        supervisor.watch(until=working.done)
        working.result()


def _journey(console: Console, place: Place, samples: list[Sample], receiver: Receiver, supervisor: Supervisor) -> None:
    headers = {"Authorization": f"Bearer {place.key_file.read_text().strip()}"}
    with (
        httpx.Client(base_url=place.url, headers=headers, timeout=60.0, trust_env=False) as client,
        _endpoint(client, receiver) as endpoint_id,
        _display(console, samples) as show,
    ):
        for sample in samples:
            submit(client, sample, endpoint_id)
            show(sample)
        follow(client, samples, show=show, interrupted=supervisor.is_stopping, seconds=JOBS_SECONDS)
        for sample in samples:
            if sample.state == "succeeded":
                keep_report(client, sample, _reports(place))
        expected = {sample.job_id: f"job.{sample.state}" for sample in samples}
        receiver.await_all(expected, WEBHOOK_SECONDS, interrupted=supervisor.is_stopping)


@contextmanager
def _endpoint(client: httpx.Client, receiver: Receiver) -> Iterator[str]:
    """The receiver, registered for as long as it listens. The secret is shown by this one call."""
    answer = client.post("/v1/webhook-endpoints", json={"url": receiver.url, "description": "demo"})
    if not answer.is_success:
        raise DemoFailed(f"the webhook endpoint was refused: {answer.text[:200]}")
    receiver.secret = answer.json()["secret"]
    try:
        yield answer.json()["id"]
    finally:
        client.delete(f"/v1/webhook-endpoints/{answer.json()['id']}")


@contextmanager
def _display(console: Console, samples: list[Sample]) -> Iterator[Callable[[Sample], None]]:
    """A bar per file on a terminal, else a line whenever a job's phase changes."""
    if not console.is_terminal:
        yield _line_per_change(console)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[phase]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        tasks = {sample.path: progress.add_task(sample.path.name, total=1.0, phase="sending") for sample in samples}
        yield lambda sample: progress.update(tasks[sample.path], completed=sample.fraction, phase=sample.phase)


def _line_per_change(console: Console) -> Callable[[Sample], None]:
    last: dict[Path, str] = {}

    def show(sample: Sample) -> None:
        if last.get(sample.path) != sample.phase:
            last[sample.path] = sample.phase
            console.print(f"{sample.path.name}: {sample.phase}", markup=False, soft_wrap=True)

    return show


def table_of(samples: list[Sample], receiver: Receiver) -> Table:
    """One line per file, narrow enough for 80 characters. A dash is where there is no value, never a zero."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("file", "outcome", "verdict", "probability", "faces", "clips", "seconds", "webhook"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "probability")
    for sample in samples:
        coverage = (sample.report.get("result") or {}).get("coverage") or {}
        probability = sample.job.get("probability")
        table.add_row(
            sample.path.name,
            str(sample.job.get("outcome") or sample.state),
            str(sample.job.get("verdict") or "–"),
            "–" if probability is None else f"{probability:.3f}",
            str(coverage.get("faces_tracked", "–")),
            str(coverage.get("clips_analysed", "–")),
            f"{sample.seconds:.1f}",
            "verified" if receiver.heard(sample.job_id, f"job.{sample.state}") else "missing",
        )
    return table


def reasons_of(samples: list[Sample]) -> list[str]:
    """Why there is no score, with the files that it concerns."""
    files: dict[str, list[str]] = {}
    for sample in samples:
        if sample.state != "succeeded" or sample.job.get("reason"):
            files.setdefault(_outcome(sample.job), []).append(sample.path.name)
    return [f"{outcome}: {', '.join(names)}" for outcome, names in files.items()]


def _outcome(job: dict[str, Any]) -> str:
    if job.get("state") != "succeeded":
        return f"{job.get('state')} ({(job.get('error') or {}).get('code', 'no reason given')})"
    reason = job.get("reason")
    return f"{job.get('outcome')} ({reason})" if reason else str(job.get("outcome"))


def shortcomings(samples: list[Sample], receiver: Receiver) -> list[str]:
    """What keeps the demonstration from having succeeded; empty when it did."""
    found = [f"{sample.path.name} ended as {_outcome(sample.job)}" for sample in samples if sample.state != "succeeded"]
    found += [
        f"the webhook of {sample.path.name} did not arrive"
        for sample in samples
        if not receiver.heard(sample.job_id, f"job.{sample.state}")
    ]
    if receiver.refused:
        found.append(f"{receiver.refused} webhooks came without a right signature")
    return found


def _reports(place: Place) -> Path:
    return place.home / "demo" / "reports"
