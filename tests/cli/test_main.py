from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from styleflow import __version__
from styleflow.cli.main import COMMANDS, PANELS, app, load


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert load(name).help


def test_the_list_of_commands_is_complete() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in COMMANDS)


def test_the_list_is_in_panels_each_with_its_own_commands() -> None:
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    tops = {title: next(n for n, line in enumerate(lines) if line.startswith(f"╭─ {title} ─")) for title in PANELS}
    for title, commands in PANELS.items():
        panel = lines[tops[title] :]
        inside = panel[: next(n for n, line in enumerate(panel) if line.startswith("╰"))]
        assert [line.split()[1] for line in inside if line.startswith("│ ") and line[2] != " "] == list(commands)


def test_an_unknown_command_is_refused_with_a_guess() -> None:
    assert CliRunner().invoke(app, ["polish"]).exit_code == 2
    refused = CliRunner().invoke(app, ["docter"])
    assert (refused.exit_code, "Did you mean 'doctor'?" in refused.output) == (2, True)


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`styleflow ARGUMENTS…` as a shell starts it: completion goes by the name of the program."""
    program = str(Path(sys.executable).parent / "styleflow")
    return subprocess.run([program, *arguments], env=os.environ | variables, capture_output=True, text=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script_and_what_could_be_meant(shell: str) -> None:
    script = run("--show-completion", shell)
    assert (script.returncode, "_STYLEFLOW_COMPLETE" in script.stdout) == (0, True)
    words = {"COMP_WORDS": "styleflow do", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "styleflow do"}
    asked = {"_STYLEFLOW_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args", **words}
    assert "doctor" in run(**asked).stdout


def test_asking_for_help_imports_neither_database_nor_network_of_tensors() -> None:
    """The bare install has none of them."""
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from styleflow.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "extras = {'torch', 'av', 'sqlalchemy', 'celery', 'boto3', 'fastapi', 'psycopg', 'psutil'}\n"
        "print(sorted(extras & {*sys.modules}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_it_says_which_version_it_is() -> None:
    done = CliRunner().invoke(app, ["--version"])

    assert (done.exit_code, done.stdout) == (0, f"styleflow {__version__}\n")
