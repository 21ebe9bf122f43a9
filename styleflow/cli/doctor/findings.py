"""What a check found, in one form for people and programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands. A warning is something that works now and that somebody should know of."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One check's answer: what was found, in a sentence, and what to do, empty where there is nothing to do."""

    check: str
    state: State
    found: str
    advice: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def ok(check: str, found: str) -> Finding:
    return Finding(check, State.OK, found)


def warn(check: str, found: str, advice: str) -> Finding:
    return Finding(check, State.WARN, found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    return Finding(check, State.FAIL, found, advice)


ALL_WELL, WARNINGS, FAILURES = 0, 1, 2


def exit_code(findings: Iterable[Finding], *, strict: bool) -> int:
    """0: nothing failed. 1: warnings, where they count (`strict`). 2: something failed."""
    states = {finding.state for finding in findings}
    if State.FAIL in states:
        return FAILURES
    return WARNINGS if strict and State.WARN in states else ALL_WELL
