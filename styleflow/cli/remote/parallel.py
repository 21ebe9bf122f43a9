"""Many things at a time, in threads that keep nothing from ending: Ctrl-C ends the command, not the upload first."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
LOOK_SECONDS = 0.1
"""How often a thread that has nothing to do sees whether it is still needed."""


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Line(Generic[Given, Made]):
    """What goes in and what comes out. Both ends are short, so that a list of a million is never held at once."""

    def __init__(self, work: Callable[[Given], Made], threads: int) -> None:
        self._work = work
        self.waiting: queue.Queue[Given] = queue.Queue(maxsize=threads)
        self.done: queue.Queue[Made | _Failed] = queue.Queue()
        self.stopped = threading.Event()
        for number in range(threads):
            threading.Thread(target=self._serve, name=f"parallel-{number}", daemon=True).start()

    def _serve(self) -> None:
        while not self.stopped.is_set():
            with suppress(queue.Empty):
                self.done.put(self._carry_out(self.waiting.get(timeout=LOOK_SECONDS)))

    def _carry_out(self, item: Given) -> Made | _Failed:
        try:
            return self._work(item)
        except BaseException as error:  # noqa: BLE001 (raised again by whoever takes the results)
            return _Failed(error)


def in_parallel(work: Callable[[Given], Made], items: Iterable[Given], threads: int) -> Iterator[Made]:
    """`work` of every item, as it is done. Raises what `work` raises; what is then under way is left to itself.

    To be taken to its end or closed: threads wait for items until then. Closing waits for nobody.
    """
    line: _Line[Given, Made] = _Line(work, threads)
    under_way = 0
    try:
        for item in items:
            if under_way >= threads:
                yield _taken(line.done.get())
                under_way -= 1
            line.waiting.put(item)
            under_way += 1
        for _ in range(under_way):
            yield _taken(line.done.get())
    finally:
        line.stopped.set()


def _taken(result: Made | _Failed) -> Made:
    if isinstance(result, _Failed):
        raise result.error
    return result
