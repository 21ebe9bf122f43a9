"""A file of JSON lines that long work is resumed from: a head that says what the work is, then one line a piece."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleflow.evaluation.scores import EvaluationError

Json = Mapping[str, Any]


class LedgerMismatch(EvaluationError):
    """The file holds the results of other work; nothing of it may be mixed in."""


@dataclass(frozen=True)
class Ledger:
    """`head` must be JSON values; equal heads mean the same work."""

    path: Path
    head: Json

    def resume(self) -> list[dict[str, Any]]:
        """The lines written so far; starts the file where there is none.

        A last line that was cut off is left out, and the file shortened by it. Raises LedgerMismatch where the file
        has another head, EvaluationError where it is no such file.
        """
        if not self.path.exists():
            self.restart()
            return []
        head, lines, sound_bytes = read_ledger(self.path)
        differing = sorted(key for key in {*head, *self.head} if head.get(key) != self.head.get(key))
        if differing:
            raise LedgerMismatch(f"{self.path.name} cannot be resumed: it was written with another {differing[0]}.")
        os.truncate(self.path, sound_bytes)
        return lines

    def restart(self) -> None:
        """Begin anew; what was there is lost."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.head) + "\n", encoding="utf-8")

    def add(self, line: Json) -> None:
        """Append one line and have it on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_ledger(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Head, lines, and the number of sound bytes. Raises EvaluationError for what is no such file."""
    pieces = path.read_bytes().split(b"\n")
    whole, sound_bytes = pieces[:-1], sum(len(piece) + 1 for piece in pieces[:-1])
    try:
        values = [json.loads(piece) for piece in whole]
    except ValueError as error:
        raise EvaluationError(f"{path.name} holds a line that is not JSON.") from error
    if not values or not all(isinstance(value, dict) for value in values):
        raise EvaluationError(f"{path.name} is no file of predictions.")
    return values[0], values[1:], sound_bytes
