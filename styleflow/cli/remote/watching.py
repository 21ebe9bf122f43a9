"""A batch while it drains: looked at again and again until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from styleflow.cli.remote.judging import TERMINAL_BATCH
from styleflow.cli.remote.pace import SETTLED, WAITING, Pace, known_of, settled_of
from styleflow.cli.remote.shown import Output, span_of

Batch = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A batch at a moment, with what its counts say of its speed."""

    batch: Batch
    rate: float | None
    """Items a second over the last minute."""
    seconds_left: float | None
    """Until all that is known is settled; None while nothing can be said."""

    @property
    def is_over(self) -> bool:
        return self.batch["state"] in TERMINAL_BATCH

    def as_json(self) -> dict[str, Any]:
        return {**self.batch, "rate_per_second": self.rate, "seconds_left": self.seconds_left}


def looks(read: Callable[[], Batch], every_seconds: float, deadline: float) -> Iterator[Look]:
    """One after the other, until the batch is over or `deadline` (monotonic seconds) has passed."""
    pace = Pace()
    while True:
        batch = read()
        now = time.monotonic()
        settled, known = settled_of(batch["counts"]), known_of(batch["counts"])
        pace.add(now, settled)
        # More may be listed yet: what is known then says nothing of the end.
        left = None if batch["state"] == "expanding" else pace.seconds_left(known - settled)
        look = Look(batch=batch, rate=pace.rate, seconds_left=left)
        yield look
        if look.is_over or now >= deadline:
            return
        time.sleep(max(0.0, min(every_seconds, deadline - now)))


@dataclass
class Screen:
    """Where looks are shown: a bar on a terminal, else a line whenever something changed."""

    output: Output
    _last: object = None
    _progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[said]}"))
        drawn = self.output.console.is_terminal and not self.output.as_json
        console = self.output.console if drawn else Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not drawn, expand=True)
        self._task = self._progress.add_task("", total=None, said="")

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, look: Look) -> None:
        if not self._progress.disable:
            counts = look.batch["counts"]
            settled, known = settled_of(counts), known_of(counts)
            wrong = counts.get("failed", 0) + counts.get("invalid", 0)
            said = "  ".join((f"{settled}/{known}", *([f"{wrong} failed"] if wrong else []), speed_of(look)))
            self._progress.update(
                self._task, description=look.batch["state"], completed=settled, total=known or None, said=said
            )
            if look.is_over:
                self._progress.stop()
                self.output.row(look.batch, {"all": lambda _: line_of(look)})
        elif (now := (look.batch["state"], dict(look.batch["counts"]))) != self._last:
            self._last = now
            self.output.row(look.as_json(), {"all": lambda _: line_of(look)})


def line_of(look: Look) -> str:
    """`running  1190 of 2000 (59 %)  34/s, 24 s left  succeeded 1180, failed 10, queued 500, …`."""
    counts = look.batch["counts"]
    settled, known = settled_of(counts), known_of(counts)
    share = f" ({100 * settled / known:.0f} %)" if known else ""
    named = ", ".join(f"{name} {counts[name]}" for name in (*SETTLED, *WAITING) if counts.get(name))
    parts = [str(look.batch["state"]), f"{settled} of {known}{share}", speed_of(look), named]
    return "  ".join(part for part in parts if part)


def speed_of(look: Look) -> str:
    """`34/s, 24 s left`, as far as it is known; nothing of a batch that is over."""
    if look.is_over or not look.rate:
        return ""
    rate = _rate_of(look.rate)
    return rate if look.seconds_left is None else f"{rate}, {span_of(look.seconds_left)} left"


def _rate_of(rate: float) -> str:
    """With two digits, and never as a fraction of one."""
    if rate < 1:
        return f"{60 * rate:.0f}/min"
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
