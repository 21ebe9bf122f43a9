from __future__ import annotations

import threading

import pytest

from styleflow.database import Database
from styleflow.errors import DependencyUnavailable
from styleflow.settings import Settings
from worker.duties import Duty, run_until_stopped


def test_a_duty_that_did_something_is_due_again_at_once() -> None:
    duty = Duty("any", 1000.0, lambda: 3)

    assert [duty.tick(), duty.tick()] == [True, True]


def test_a_duty_with_nothing_to_do_waits_for_its_time() -> None:
    runs: list[int] = []
    duty = Duty("any", 1000.0, lambda: len(runs) if runs.append(1) else 0)

    assert [duty.tick(), duty.tick()] == [False, False]
    assert len(runs) == 1


def test_a_duty_that_meets_trouble_goes_on_later() -> None:
    def broken() -> int:
        raise DependencyUnavailable("the broker does not answer")

    duty = Duty("dispatch", 0.0, broken)

    assert [duty.tick(), duty.tick()] == [False, False]


def test_a_bug_in_a_duty_is_not_hidden() -> None:
    duty = Duty("any", 0.0, lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        duty.tick()


def test_a_loop_that_ends_by_a_bug_ends_the_whole_light_worker(database: Database) -> None:
    stopping = threading.Event()

    def broken(settings: Settings, database: Database, stopping: threading.Event) -> None:
        raise OverflowError("a receiver sent something that nobody thought of")

    def healthy(settings: Settings, database: Database, stopping: threading.Event) -> None:
        assert stopping.wait(30)

    assert run_until_stopped([broken, healthy], Settings(), database, stopping) == 1


def test_loops_that_were_told_to_stop_end_well(database: Database) -> None:
    stopping = threading.Event()
    stopping.set()

    def obedient(settings: Settings, database: Database, stopping: threading.Event) -> None:
        assert stopping.is_set()

    assert run_until_stopped([obedient, obedient], Settings(), database, stopping) == 0
