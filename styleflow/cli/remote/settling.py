"""Waiting for jobs: each until it settled, with what is known of all of them shown meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.judging import TERMINAL, name_of, said_of
from styleflow.cli.remote.parallel import in_parallel
from styleflow.cli.remote.sending import Refused
from styleflow.cli.remote.shown import STANDARD_ERROR

LOOK_SECONDS = 2
"""Longest that one request waits, so that a bar moves while a job runs."""
LEAST_SECONDS = 1.0
"""Between two requests about the same job."""
MOST_BARS = 12
"""More jobs than that share one bar."""


class Clerk(Protocol):
    """What of a service tells where a job stands. May raise Refused."""

    def get_job(self, job_id: str, *, wait_seconds: int) -> dict[str, Any]:
        """The job when it settled, or as it stands after so long."""
        ...


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of a job that was waited for: its end, or why nothing more is known."""

    job_id: str
    job: Mapping[str, Any] | None = None
    refused: Refused | None = None


def settle(clerk: Clerk, job_id: str, deadline: float, show: Callable[[Mapping[str, Any]], None]) -> Settled:
    """Wait for one job until `deadline` (monotonic seconds)."""
    try:
        while True:
            asked = time.monotonic()
            left = deadline - asked
            job = clerk.get_job(job_id, wait_seconds=max(1, int(min(LOOK_SECONDS, left))) if left > 0 else 0)
            show(job)
            if job["state"] in TERMINAL:
                return Settled(job_id=job_id, job=job)
            if left <= 0:
                late = Refused(Exit.TIMED_OUT, "timed_out", f"{job_id} is still {job['state']}")
                return Settled(job_id=job_id, job=job, refused=late)
            # A service where too many wait answers at once.
            time.sleep(max(0.0, min(LEAST_SECONDS - (time.monotonic() - asked), left)))
    except Refused as refused:
        return Settled(job_id=job_id, refused=refused)


def settle_all(
    clerk: Clerk,
    job_ids: Iterable[str],
    seconds: float | None,
    parallel: int,
    show: Callable[[Mapping[str, Any]], None],
) -> Iterator[Settled]:
    """As each settles. `seconds` is for all of them together; None waits as long as it takes."""
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    return in_parallel(lambda job_id: settle(clerk, job_id, deadline, show), job_ids, parallel)


class Bars:
    """Progress on a terminal: a bar a video while they are few, and one for all. Elsewhere nothing is drawn."""

    def __init__(self, total: int, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
        self._progress = Progress(
            *columns,
            console=console,
            transient=True,
            # What goes to standard output is meant for whoever reads that.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._few = total <= MOST_BARS
        self._tasks: dict[str, TaskID] = {}
        self._all = self._progress.add_task("all", total=total, said=f"0 of {total}")
        self._total, self._done = total, 0

    @property
    def progress(self) -> Progress:
        return self._progress

    def step(self, name: str, label: str, fraction: float, said: str) -> None:
        """Where one of them stands; `fraction` in 0..1."""
        if not self._few:
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(label, total=1.0, said=said)
        self._progress.update(self._tasks[name], completed=fraction, said=said)

    def job(self, job: Mapping[str, Any]) -> None:
        is_done = job["state"] in TERMINAL
        fraction = 1.0 if is_done else float((job.get("progress") or {}).get("fraction") or 0.0)
        self.step(str(job["id"]), name_of(job) or str(job["id"]), fraction, said_of(job) or str(job["state"]))

    def one_more(self) -> None:
        self._done += 1
        self._progress.update(self._all, advance=1, said=f"{self._done} of {self._total}")


@contextmanager
def bars(total: int) -> Iterator[Bars]:
    """On standard error, so that the answers can be piped."""
    drawn = Bars(total, STANDARD_ERROR)
    with drawn.progress:
        yield drawn
