from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from styleflow.cli.remote.shown import Output, field_of, moment_of, text_of, time_of

COLUMNS = {"id": field_of("id"), "why": field_of("error", "code"), "created": time_of("created_at")}
VALUES = [
    {"id": "job_1", "error": {"code": "corrupt_media"}, "created_at": "2026-11-20T12:31:00.123Z"},
    {"id": "job_2", "error": None, "created_at": None},
]


def test_programs_get_a_whole_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert Output(as_json=True).rows(iter(VALUES), COLUMNS) == 2
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == VALUES


def test_a_pipe_gets_columns_apart_by_tabs_and_a_dash_for_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=False).rows(VALUES, COLUMNS)
    assert capsys.readouterr().out == "job_1\tcorrupt_media\t2026-11-20 12:31:00\njob_2\t–\t–\n"


def test_a_terminal_gets_headings_and_aligned_columns() -> None:
    screen = io.StringIO()
    Output(as_json=False, console=Console(file=screen, force_terminal=True, no_color=True, width=80)).rows(
        VALUES, COLUMNS
    )
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert "why" in lines[0]
    assert lines[1].startswith("job_1  corrupt_media  2026-11-20 12:31:00")


def test_a_card_leaves_out_what_there_is_not() -> None:
    screen = io.StringIO()
    Output(as_json=False, console=Console(file=screen, width=80)).card(VALUES[1], COLUMNS)
    assert screen.getvalue().split() == ["id", "job_2"]


def test_text_of_strangers_moves_no_cursor_and_is_no_markup() -> None:
    assert text_of("a\x1b[31m\nb") == "a�[31m�b"
    screen = io.StringIO()
    Output(as_json=False, console=Console(file=screen, width=80)).card({"id": "[red]x[/]"}, {"id": field_of("id")})
    assert "[red]x[/]" in screen.getvalue()


def test_a_name_of_a_file_that_is_no_text_is_written_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).json({"source": "a\udcff.mp4", "é": 1})
    Output(as_json=True).json({"source": "é.mp4"})
    Output(as_json=False).row({"source": "a\udcff.mp4"}, {"source": field_of("source")})
    first, second, third = capsys.readouterr().out.splitlines()
    assert (json.loads(first)["source"], second, third) == ("a\udcff.mp4", '{"source": "é.mp4"}', "a�.mp4")


def test_rows_that_arrive_under_bars_are_shown_together_on_a_terminal_and_at_once_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = io.StringIO()
    terminal = Output(as_json=False, console=Console(file=screen, force_terminal=True, no_color=True, width=80))

    def lose_patience() -> None:
        with terminal.arriving(COLUMNS) as tell:
            tell(VALUES[0])
            assert screen.getvalue() == ""
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lose_patience()
    assert "job_1" in screen.getvalue(), "what was found before somebody lost patience is not lost"
    with Output(as_json=True).arriving(COLUMNS) as tell:
        tell(VALUES[0])
        assert "job_1" in capsys.readouterr().out


def test_values_of_any_kind_are_one_line() -> None:
    assert text_of(None) == "–"
    assert text_of(["a", "b"]) == "a, b"
    assert text_of({"a": 1, "b": None}) == "a=1, b=–"
    assert text_of(0) == "0"
    assert moment_of(None) is None
