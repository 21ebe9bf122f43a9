"""Who may go next when several projects want more than there is: deficit round robin. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass


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
