"""The order in which a worker asks the lanes for its next message: most urgent first, with a share for the others."""

from __future__ import annotations

from collections.abc import Iterable

SHARE = 10
"""One of so many messages is asked for in the other lanes first, where the most urgent one is never empty."""


class LaneOrder:
    """The order of kombu's lists in Redis (`queue_order_strategy`); one for each connection of a worker.

    A worker of one lane is not affected, so a slot that is kept for urgent work stays kept for it.
    """

    def __init__(self) -> None:
        self._lists: list[str] = []
        self._in_a_row = 0
        """Messages of the first list in a row, since the others were asked before it."""

    def update(self, lists: Iterable[str]) -> None:
        """The lists that the worker reads, the most urgent first."""
        self._lists = list(lists)

    def consume(self, count: int) -> list[str]:
        """The first `count` lists in the order in which the next message is looked for."""
        lists = self._lists[:count]
        return lists if self._in_a_row < SHARE - 1 else [*lists[1:], *lists[:1]]

    def rotate(self, taken_from: str) -> str:
        """Note where the message came from."""
        asked_last = self._in_a_row >= SHARE - 1
        from_first = self._lists[:1] == [taken_from]
        self._in_a_row = self._in_a_row + 1 if from_first and not asked_last else 0
        return taken_from
