from __future__ import annotations

import re
from pathlib import Path

import pytest

from styleflow.video.seccomp import (
    ALLOW,
    ALLOWED,
    ALLOWED_WITH,
    ARGUMENTS_AT,
    JUMP_EQUAL,
    LOAD,
    MACHINE_AT,
    MACHINES,
    NUMBER_AT,
    REFUSE,
    Machine,
    instructions,
)

PID = 4242
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    # The numbers of every younger machine.
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
KINDS = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


def answer(machine: Machine, number: int, *arguments: int, mark: int | None = None) -> int:
    """What the filter says, by the rules of the kernel's little machine."""
    record = {NUMBER_AT: number, MACHINE_AT: machine.mark if mark is None else mark}
    record |= {ARGUMENTS_AT + 8 * place: value & 0xFFFFFFFF for place, value in enumerate((*arguments, 0, 0, 0))}
    program = list(instructions(machine, PID))
    place = loaded = 0
    while True:
        code, if_true, if_false, constant = program[place]
        place += 1
        if code == LOAD:
            loaded = record[constant]
        elif code == JUMP_EQUAL:
            place += if_true if loaded == constant else if_false
        else:
            return constant


@KINDS
def test_exactly_the_listed_calls_are_allowed(machine: Machine) -> None:
    listed = {numbers[machine.column] for numbers in ALLOWED.values()} - {None}
    allowed = {number for number in range(600) if answer(machine, number, 77, 77) == ALLOW}
    assert allowed == listed


@KINDS
def test_only_oneself_can_be_signalled(machine: Machine) -> None:
    for name in ("kill", "tkill", "tgkill"):
        number = ALLOWED_WITH[name][0][machine.column]
        assert number is not None
        assert answer(machine, number, PID) == ALLOW
        assert {answer(machine, number, pid) for pid in (0, 1, -1, -PID, PID + 1)} == {REFUSE}


@KINDS
def test_a_descriptor_gets_no_owner_to_signal(machine: Machine) -> None:
    number = ALLOWED_WITH["fcntl"][0][machine.column]
    assert number is not None
    assert [answer(machine, number, 3, command) == ALLOW for command in (0, 1, 2, 3, 1030)] == [True] * 5
    # F_SETFL (O_ASYNC), F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
    assert {answer(machine, number, 3, command) for command in (4, 8, 10, 15, 1024, 1026)} == {REFUSE}


@KINDS
def test_calls_in_the_numbers_of_another_machine_are_refused(machine: Machine) -> None:
    i386, x32 = 0x40000003, 0x40000000
    assert {answer(machine, number, mark=i386) for number in range(500)} == {REFUSE}
    assert {answer(machine, number | x32) for number in range(600)} == {REFUSE}


@KINDS
def test_a_program_is_one_that_the_kernel_takes(machine: Machine) -> None:
    program = list(instructions(machine, PID))
    assert len(program) < 4096
    for place, one in enumerate(program):
        assert 0 <= max(one.if_true, one.if_false) < 256
        assert place + 1 + max(one.if_true, one.if_false) < len(program) or place == len(program) - 1


@pytest.mark.parametrize("kind", MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(kind: str) -> None:
    if not HEADERS[kind].exists():
        pytest.skip("the kernel's headers are not installed")
    text = HEADERS[kind].read_text()
    column = MACHINES[kind].column
    table = {name: numbers[column] for name, numbers in ALLOWED.items()}
    table |= {name: numbers[column] for name, (numbers, _, _) in ALLOWED_WITH.items()}
    for name, number in table.items():
        # The generic header names some after both widths of a file's offset.
        names = {"newfstatat": "(?:newfstatat|fstatat)"}.get(name, name)
        told = re.search(rf"#define __NR(?:3264)?_{names}\s+(\d+)\n", text)
        assert (int(told[1]) if told else None) == number, name
