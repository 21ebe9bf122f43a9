"""Every code has its line in the documents, and every line its code."""

from __future__ import annotations

from pathlib import Path

from api.problems import KINDS
from styleflow import errors


def all_codes(kind: type[errors.StyleFlowError]) -> set[str]:
    return {kind.code}.union(*(all_codes(child) for child in kind.__subclasses__()))


def documented(section: str) -> dict[str, list[str]]:
    text = (Path(__file__).parents[2] / "docs/api/errors.md").read_text()
    part = text.partition(f"## {section}")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_code_of_a_request_has_its_line_and_every_request_error_its_status() -> None:
    lines = documented("Codes of requests")
    assert lines.keys() == KINDS.keys()
    for code, kind in KINDS.items():
        assert lines[code][:2] == [str(kind.status), "yes" if kind.retryable else "no"]
    assert all_codes(errors.RequestError) <= KINDS.keys()


def test_every_code_of_a_failed_job_has_its_line() -> None:
    lines = documented("Codes of failed jobs")
    kinds = {kind.code: kind for kind in _leaves(errors.JobError)}
    assert lines.keys() == kinds.keys()
    for code, kind in kinds.items():
        assert lines[code][0] == ("yes" if kind.retryable else "no"), code


def _leaves(kind: type[errors.StyleFlowError]) -> list[type[errors.StyleFlowError]]:
    children = kind.__subclasses__()
    return [leaf for child in children for leaf in _leaves(child)] if children else [kind]
