"""How long each class of what belongs to a job is kept. Pure: no clock, no session.

Three have a say: the operator's defaults and maxima, the project, the job. The job wins over the project and the
project over the defaults, but for one thing: a project of zero retention is a promise that no job of it may loosen.
What does not fit is refused; nothing that somebody asked for is shortened without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from styleflow.errors import InvalidRequest

HOURS_A_DAY = 24.0


class Mode(StrEnum):
    """Whether evidence is kept at all."""

    STANDARD = "standard"
    ZERO = "zero"


class KeptClass(StrEnum):
    """What is kept for a time of its own."""

    SOURCE = "source"
    """The uploaded video."""
    CROPS = "crops"
    """Crops of faces and heat maps."""
    FRAMES = "frames"
    """Scores frame by frame, and the whole report, which has them."""
    RESULTS = "results"
    """The summary, and the job itself."""


@dataclass(frozen=True, kw_only=True)
class Periods:
    """How long each class is kept."""

    source_hours: float
    crops_days: float
    frames_days: float
    results_days: float


@dataclass(frozen=True, kw_only=True)
class Retention(Periods):
    """What is agreed for one job."""

    mode: Mode = Mode.STANDARD
    zero_minutes: float = 15.0
    """With zero retention: for how long a settled job can be read where nobody was told of it."""

    def stored(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "mode": str(self.mode), "ended": {}}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a project or a job asks for; None takes what stands above it."""

    mode: Mode | None = None
    source_hours: float | None = None
    crops_days: float | None = None
    frames_days: float | None = None
    results_days: float | None = None


_EVIDENCE = ("source_hours", "crops_days", "frames_days")
_ALL = (*_EVIDENCE, "results_days")
NOTHING_ASKED = Asked()


@dataclass(frozen=True, kw_only=True)
class House:
    """What the operator keeps by default, and at most."""

    default: Retention
    maximum: Periods


def agree(house: House, project: Asked, job: Asked, pointer: str) -> Retention:
    """What holds for a job. `pointer` is where the job's own wishes stand in the request.

    Raises InvalidRequest: beyond the operator's maximum, evidence for longer than its job, evidence of a job of zero
    retention, or more than a project of zero retention allows.
    """
    if project.mode is Mode.ZERO:
        if job.mode is Mode.STANDARD:
            raise _refused(pointer, "mode", "this project keeps nothing; a job cannot change that")
        if (job.results_days or 0.0) > (project.results_days or 0.0):
            raise _refused(
                pointer, "results_days", f"this project keeps answers for {project.results_days or 0:g} days"
            )
    _check(house, job, pointer)
    if Mode.ZERO in (project.mode, job.mode):
        return _zero(house, project, job, pointer)
    values = {name: _first(getattr(job, name), _inherited(house, project, name)) for name in _ALL}
    for name in _EVIDENCE:
        longest = values["results_days"] * (HOURS_A_DAY if name == "source_hours" else 1.0)
        if getattr(job, name) is not None and values[name] > longest:
            raise _refused(pointer, name, "nothing is kept for longer than the job that it belongs to")
        # What was not asked for here ends with the job at the latest; the job shows it.
        values[name] = min(values[name], longest)
    return Retention(
        source_hours=values["source_hours"],
        crops_days=values["crops_days"],
        frames_days=values["frames_days"],
        results_days=values["results_days"],
        zero_minutes=house.default.zero_minutes,
    )


def _zero(house: House, project: Asked, job: Asked, pointer: str) -> Retention:
    for name in _EVIDENCE:
        if getattr(job, name):
            raise _refused(pointer, name, "zero retention keeps no source and no evidence")
    own = project.results_days if project.mode is Mode.ZERO else None
    return Retention(
        mode=Mode.ZERO,
        source_hours=0.0,
        crops_days=0.0,
        frames_days=0.0,
        results_days=_first(job.results_days, None if own is None else min(own, house.maximum.results_days), 0.0),
        zero_minutes=house.default.zero_minutes,
    )


def _inherited(house: House, project: Asked, name: str) -> float:
    """The operator may have lowered a maximum since the project asked for more: then that holds, and is shown."""
    value = _first(getattr(project, name), getattr(house.default, name))
    return float(min(value, getattr(house.maximum, name)))


def check_project(house: House, wanted: Asked, pointer: str = "") -> Retention:
    """What jobs of a project with these wishes get that ask for nothing themselves. Raises InvalidRequest."""
    return agree(house, NOTHING_ASKED, wanted, pointer)


def _check(house: House, asked: Asked, pointer: str) -> None:
    for name in _ALL:
        value, most = getattr(asked, name), getattr(house.maximum, name)
        if value is not None and value > most:
            raise _refused(pointer, name, f"at most {most:g} here")


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _refused(pointer: str, name: str, message: str) -> InvalidRequest:
    where = f"{pointer}/{name}"
    entry = {"in": "body", "pointer": where, "code": "value_error", "message": message}
    return InvalidRequest(f"{where}: {message}", errors=[entry])


# --- dates ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Dates:
    """When a settled job's classes end; None where there is nothing to end."""

    results: datetime
    crops: datetime | None
    frames: datetime | None
    zero: datetime | None


def read(stored: Mapping[str, Any]) -> Retention:
    """What `Retention.stored` gave."""
    return Retention(
        mode=Mode(stored["mode"]),
        source_hours=float(stored["source_hours"]),
        crops_days=float(stored["crops_days"]),
        frames_days=float(stored["frames_days"]),
        results_days=float(stored["results_days"]),
        zero_minutes=float(stored["zero_minutes"]),
    )


def has_ended(stored: Mapping[str, Any] | None, kept_class: KeptClass) -> bool:
    """Whether the class of a job has gone, by what is stored as its agreement."""
    return kept_class in (stored or {}).get("ended", {})


def dates(kept: Retention, finished_at: datetime, *, succeeded: bool) -> Dates:
    """Everything counts from the end of the job, but the source: that from when it was accepted."""
    results = finished_at + timedelta(days=kept.results_days)
    if kept.mode is Mode.ZERO:
        zero = finished_at + timedelta(minutes=kept.zero_minutes)
        return Dates(results=max(results, zero), crops=None, frames=None, zero=zero)
    if not succeeded:
        return Dates(results=results, crops=None, frames=None, zero=None)
    return Dates(
        results=results,
        crops=finished_at + timedelta(days=kept.crops_days),
        frames=finished_at + timedelta(days=kept.frames_days),
        zero=None,
    )
