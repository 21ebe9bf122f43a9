from __future__ import annotations

import threading
import time

import pytest

from styleflow.cli.doctor.checking import Check, examine
from styleflow.cli.doctor.findings import Finding, State, ok
from styleflow.settings import Settings


def found(*checks: Check, together: bool = True) -> list[Finding]:
    return list(examine(checks, Settings(), together=together))


@pytest.mark.parametrize("together", [True, False])
def test_findings_come_in_the_order_of_the_checks(together: bool) -> None:
    def slow(_: Settings) -> list[Finding]:
        time.sleep(0.1)
        return [ok("slow", "")]

    checks = (Check(names=("slow",), run=slow), Check(names=("fast",), run=lambda _: [ok("fast", "")]))
    assert [finding.check for finding in found(*checks, together=together)] == ["slow", "fast"]


def test_a_check_that_hangs_fails_under_each_of_its_names_and_keeps_no_other_from_being_told() -> None:
    release = threading.Event()

    def hang(_: Settings) -> list[Finding]:
        release.wait(30)
        return []

    begun = time.monotonic()
    hanging = Check(names=("a", "b"), run=hang, seconds=0.2)
    findings = found(hanging, Check(names=("c",), run=lambda _: [ok("c", "")]))
    release.set()
    assert time.monotonic() - begun < 5
    assert [(finding.check, finding.state) for finding in findings] == [
        ("a", State.FAIL),
        ("b", State.FAIL),
        ("c", State.OK),
    ]
    assert findings[0].found == "There was no answer within 0.2 s."


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken(_: Settings) -> list[Finding]:
        raise KeyError("redis_version")

    (finding,) = found(Check(names=("broker",), run=broken))
    assert finding.state is State.FAIL
    assert "KeyError" in finding.found


@pytest.mark.parametrize("needed", [State.FAIL, State.WARN])
def test_a_missing_library_is_a_finding_that_names_the_extra(needed: State) -> None:
    check = Check(
        names=("a", "b"), run=lambda _: [], modules=("json", "no_such_library"), extra="detector", needed=needed
    )
    findings = found(check)
    assert [finding.state for finding in findings] == [needed, needed]
    assert "no_such_library" in findings[0].found
    assert "styleflow[detector]" in findings[0].advice
