"""`styleflow keys`: make the keys with which callers show who they are."""

from __future__ import annotations

from typing import Annotated

import typer

from styleflow.cli.up import Home, errors_as_exit

app = typer.Typer(no_args_is_help=True, help="API keys.")


@app.callback()
def keys() -> None:
    """API keys: only a keyed hash of them is stored."""


@app.command()
def create(
    project: Annotated[str, typer.Option(help="Name of the tenant; made when it does not exist.")] = "default",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
    scopes: Annotated[str, typer.Option(help="Separated by commas.")] = "jobs:write,jobs:read,evidence:read",
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires.", show_default="never")] = None,
    home: Home = None,
) -> None:
    """Make a key and print it, this one time.

    The database is the one that STYLEFLOW_DATABASE_URL names, else that of a running `styleflow up` of this home.
    """
    from styleflow import api_keys
    from styleflow.cli.stack import home_folder
    from styleflow.database import Database
    from styleflow.settings import Settings

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    if not wanted or set(wanted) - set(api_keys.SCOPES):
        raise typer.BadParameter(f"choose from {', '.join(sorted(api_keys.SCOPES))}", param_hint="--scopes")
    with errors_as_exit():
        settings = Settings(_env_file=home_folder(home) / "environment")
        database = Database(settings.database_url, pool_size=1)
        try:
            with database.transaction() as session:
                owner = api_keys.ensure_project(session, project)
                pepper = settings.secret_key.get_secret_value()
                _, plaintext = api_keys.create(session, pepper, owner.id, name, wanted, days)
        finally:
            database.close()
    typer.echo(plaintext)
