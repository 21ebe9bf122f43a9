"""Who may go next when several projects want more than there is: deficit round robin. Pure.

`share` divides what costs the same for everybody; `in_turn` says whose jobs go next when each takes its own time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ring:
    """Whose turn it is, from one round to the next: the projects in order, and what the first has left of its turn."""

    order: tuple[str, ...] = ()
    credit: int = 0


def share(wanted: Mapping[str, int], ring: Ring, *, quantum: int, budget: int) -> tuple[dict[str, int], Ring]:
    """Divide at most `budget` units among projects that each want some, `quantum` to a turn; in the order of turns.

    Nothing is left over while somebody wants it. A turn that the budget cuts short goes on in the next round, so that
    over any number of rounds no project that still wants more is more than one quantum behind another. Whoever wants
    nothing leaves the ring: nobody saves up while idle, and who comes anew waits one turn of the others.
    """
    left = {project: units for project, units in wanted.items() if units > 0}
    known = [project for project in ring.order if project in left]
    credit = ring.credit if known and known[0] == ring.order[0] else 0
    turns = deque([*known, *sorted(left.keys() - set(known))])
    granted = dict.fromkeys(turns, 0)
    while budget > 0 and turns:
        project = turns[0]
        credit = credit or quantum
        units = min(credit, left[project], budget)
        granted[project] += units
        left[project] -= units
        budget -= units
        credit -= units
        if not left[project]:
            turns.popleft()
            credit = 0
        elif not credit:
            turns.rotate(-1)
    return granted, Ring(tuple(turns), credit)


@dataclass(frozen=True)
class Debts:
    """Seconds of work for which each project went ahead of whoever is served least; whose last turn is longest ago
    first. A debt is a deficit with the other sign: a job goes first, and is paid for by the rounds that follow."""

    owed: Mapping[str, float] = field(default_factory=dict)


def in_turn(waiting: Mapping[str, Sequence[float]], debts: Debts, room: int) -> tuple[list[str], Debts]:
    """Whose jobs go into at most `room` places: a project for each, standing for the first of its jobs that is left.

    `waiting` is what each project's jobs are expected to take, in seconds, in the order in which they go. Every round
    pays all projects the same, no more than it takes until one that waits owes nothing; that one's job goes, and it
    owes what the job takes. So no place stays empty while somebody waits, and of two projects that always wait none
    is ever ahead of the other by more than its own longest job.

    Who waits for nothing is paid like the others, and never more than it owes: nobody saves up while idle, and nobody
    goes twice by leaving and coming back. Who comes anew owes nothing, and so goes before all who had their turn.
    Where everything that waits has gone and places are left, nobody is behind anybody, and all debts are forgiven.
    """
    owed = dict(debts.owed) | {project: 0.0 for project in waiting if project not in debts.owed}
    left = {project: deque(jobs) for project, jobs in waiting.items() if jobs}
    turns: list[str] = []
    while left and len(turns) < room:
        project = min((known for known in owed if known in left), key=owed.__getitem__)
        pay = owed.pop(project)
        owed = {known: max(0.0, debt - pay) for known, debt in owed.items()}
        owed[project] = left[project].popleft()
        if not left[project]:
            del left[project]
        turns.append(project)
    if len(turns) < room:
        return turns, Debts()
    return turns, Debts({project: debt for project, debt in owed.items() if debt or project in waiting})
