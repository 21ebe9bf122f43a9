from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.evaluation.ledger import Ledger, LedgerMismatch, read_ledger
from styleflow.evaluation.scores import EvaluationError

HEAD = {"kind": "predictions", "weights_sha256": "aa"}


def test_what_was_added_is_there_after_a_restart_of_the_program(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new" / "lines.jsonl", HEAD)
    assert ledger.resume() == []
    ledger.add({"path": "a"})
    ledger.add({"path": "ü"})

    assert Ledger(ledger.path, HEAD).resume() == [{"path": "a"}, {"path": "ü"}]


def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "lines.jsonl", HEAD)
    ledger.resume()
    ledger.add({"path": "a"})
    with ledger.path.open("a") as file:
        file.write('{"path": "b", "log')

    assert ledger.resume() == [{"path": "a"}]
    ledger.add({"path": "b"})
    assert ledger.resume() == [{"path": "a"}, {"path": "b"}]


def test_results_of_other_weights_are_not_mixed_in(tmp_path: Path) -> None:
    Ledger(tmp_path / "lines.jsonl", HEAD).resume()

    with pytest.raises(LedgerMismatch, match="weights_sha256"):
        Ledger(tmp_path / "lines.jsonl", {**HEAD, "weights_sha256": "bb"}).resume()


@pytest.mark.parametrize("content", ["", "hello\n", "[1]\n"])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)

    with pytest.raises(EvaluationError, match=r"notes\.txt"):
        read_ledger(path)


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "lines.jsonl", HEAD)
    ledger.resume()

    with pytest.raises(ValueError, match="JSON"):
        ledger.add({"logit": float("nan")})
    assert ledger.resume() == []
