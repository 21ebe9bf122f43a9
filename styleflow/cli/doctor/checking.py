"""How checks are carried out: each in time, and none able to take the others along."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from threading import Thread

from styleflow.cli.doctor.findings import Finding, State, fail, warn
from styleflow.settings import Settings

ANSWER_SECONDS = 5.0
"""For what is asked over a network."""
WORK_SECONDS = 120.0
"""For what this machine computes itself: hashing packs, starting a decoder, waking an accelerator."""
POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Check:
    """A part of the examination. `run` returns a finding for each of `names`, in that order.

    `modules` are imported before, outside of the time allowed: a busy machine may take long to load them, and one that
    lacks them is a finding of its own.
    """

    names: tuple[str, ...]
    run: Callable[[Settings], Sequence[Finding]]
    modules: tuple[str, ...] = ()
    extra: str = "service"
    """The extra of the package that brings the modules."""
    needed: State = State.FAIL
    """How bad it is when they are missing."""
    seconds: float = ANSWER_SECONDS


class _Running:
    """A check in a thread of its own, which is left behind when it does not end in time."""

    def __init__(self, check: Check, settings: Settings) -> None:
        self.check = check
        self.findings: Sequence[Finding] | None = None
        self._settings = settings
        self._thread = Thread(target=self._run, name=f"check {check.names[0]}", daemon=True)
        self._deadline = time.monotonic() + check.seconds
        self._thread.start()

    def _run(self) -> None:
        try:
            self.findings = self.check.run(self._settings)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a finding, and the other checks go on)
            self.findings = _for_all(
                self.check,
                fail,
                f"This check itself failed: {type(error).__name__}: {error}.",
                "Report it with this line.",
            )

    def await_findings(self) -> Sequence[Finding]:
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self.findings is not None:
            return self.findings
        return _for_all(
            self.check,
            fail,
            f"There was no answer within {self.check.seconds:g} s.",
            "Look whether something listens at that address, and whether a firewall lies between.",
        )


def examine(checks: Sequence[Check], settings: Settings, *, together: bool) -> Iterator[Finding]:
    """Findings in the order of the checks; `together` has them run at the same time."""
    missing = {check: lacking(check.modules) for check in checks}
    if together:
        running = {check: _Running(check, settings) for check in checks if missing[check] is None}
    for check in checks:
        if (module := missing[check]) is not None:
            yield from _without(check, module)
        else:
            yield from (running[check] if together else _Running(check, settings)).await_findings()


def lacking(modules: Sequence[str]) -> str | None:
    """The first of the modules that cannot be imported here, with the reason; None when all can."""
    for name in modules:
        try:
            import_module(name)
        except (ImportError, OSError) as error:  # OSError: a shared library that does not load
            return f"{name} ({error})" if not isinstance(error, ModuleNotFoundError) else name
    return None


def _without(check: Check, module: str) -> Sequence[Finding]:
    make = fail if check.needed is State.FAIL else warn
    where = "" if check.needed is State.FAIL else " where workers run"
    advice = f"Install the extra{where}: pip install 'styleflow[{check.extra}]'."
    return _for_all(check, make, f"Not looked at, because it takes {module}, which this Python lacks.", advice)


def _for_all(check: Check, make: Callable[[str, str, str], Finding], found: str, advice: str) -> Sequence[Finding]:
    return [make(name, found, advice) for name in check.names]
