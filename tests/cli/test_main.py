from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from styleflow.cli.main import COMMANDS, app, load


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert load(name).help


def test_the_list_of_commands_is_complete() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in COMMANDS)


def test_an_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(app, ["polish"]).exit_code == 2


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
