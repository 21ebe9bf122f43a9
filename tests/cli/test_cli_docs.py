"""Every command that a page or a help text shows can be given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from styleflow.cli.main import COMMANDS, PANELS, load
from styleflow.cli.remote.exits import WORST_FIRST, Exit

CHECKOUT = Path(__file__).parent.parent.parent
PAGE = (CHECKOUT / "docs" / "cli.md").read_text()
SHOWN = re.findall(r"^styleflow .+$", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)), re.MULTILINE)


def parsed(words: list[str]) -> Any:
    """The context of a command line, whose arguments and options were all understood."""
    command = load(words[0])
    context = command.make_context(words[0], words[1:], resilient_parsing=False)
    while hasattr(command, "resolve_command") and (rest := [*context._protected_args, *context.args]):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context


def commands(name: str, command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all beneath it."""
    yield (*path, name), command
    for below, found in getattr(command, "commands", {}).items():
        yield from commands(below, found, (*path, name))


ALL = [found for name in COMMANDS for found in commands(name, load(name))]
EPILOGS = [line.strip() for _, command in ALL for line in (command.epilog or "").split("\n\n") if "styleflow " in line]


def words_of(line: str) -> list[str]:
    """What of a line is for us: behind a pipe into us, before one into another program."""
    ours = next(part for part in re.split(r"\|\|?|>", line) if "styleflow " in part)
    return shlex.split(ours[ours.index("styleflow ") :])[1:]


@pytest.mark.parametrize("line", [*SHOWN, *EPILOGS])
def test_a_command_that_is_shown_can_be_given(line: str) -> None:
    assert parsed(words_of(line)) is not None


def test_every_command_that_uses_a_service_can_answer_a_program_and_be_told_which_service() -> None:
    for path, command in ALL:
        if len(path) == 2 and path[0] in PANELS["Use a service"]:
            options = {option for parameter in command.params for option in parameter.opts}
            assert {"--json", "--url", "--key-file"} <= options, path


def test_the_page_shows_every_command_that_uses_a_service() -> None:
    of_groups = [path for path, command in ALL if len(path) == 2 and path[0] in PANELS["Use a service"]]
    assert len(of_groups) > 20
    assert [path for path in of_groups if f"styleflow {' '.join(path)}" not in PAGE] == []


def test_the_page_has_every_exit_code_and_their_order() -> None:
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
    assert told == sorted(Exit)
    assert ", ".join(str(int(end)) for end in WORST_FIRST) in PAGE
