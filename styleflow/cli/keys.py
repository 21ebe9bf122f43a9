"""`styleflow keys`: make, list and revoke the keys with which callers show who they are.

The database is the one that STYLEFLOW_DATABASE_URL names, else that of a running `styleflow up` of this home.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from styleflow.cli.up import Home, errors_as_exit

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from styleflow.settings import Settings
    from styleflow.tables import ApiKeyRow

app = typer.Typer(no_args_is_help=True, add_completion=False, help="API keys, in the database: the first ones.")

Project = Annotated[str, typer.Option(help="Name of the tenant.")]


@app.callback()
def keys() -> None:
    """API keys: only a keyed hash of them is stored."""


@app.command()
def create(
    project: Annotated[str, typer.Option(help="Name of the tenant; made when it does not exist.")] = "default",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
    scopes: Annotated[str, typer.Option(help="Separated by commas.")] = "jobs:write,jobs:read,evidence:read",
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires.", show_default="never")] = None,
    mode: Annotated[str, typer.Option(help="live or test: the word in the key's own text.")] = "live",
    cidr: Annotated[
        list[str] | None, typer.Option(help="A network from which it may be used; may be repeated.", show_default="any")
    ] = None,
    home: Home = None,
) -> None:
    """Make a key and print it, this one time."""
    from styleflow import api_keys, audit

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    if not wanted or set(wanted) - set(api_keys.SCOPES):
        raise typer.BadParameter(f"choose from {', '.join(sorted(api_keys.SCOPES))}", param_hint="--scopes")
    if mode not in api_keys.MODES:
        raise typer.BadParameter(f"choose from {', '.join(api_keys.MODES)}", param_hint="--mode")
    cidrs = _networks(cidr or [])
    with installation(home) as (session, settings):
        owner = api_keys.ensure_project(session, project)
        pepper = settings.secret_key.get_secret_value()
        row, plaintext = api_keys.create(session, pepper, owner.id, name, wanted, days, cidrs=cidrs, mode=mode)
        details = {"name": name, "scopes": row.scopes, "cidrs": row.cidrs, "mode": mode}
        audit.record(session, owner.id, audit.OPERATOR, "key.created", row.id, details)
    typer.echo(plaintext)


@app.command("list")
def list_(project: Project = "default", home: Home = None) -> None:
    """List the keys of a project: id, how the key begins, what for, scopes, state, last use."""
    from styleflow import api_keys

    with installation(home) as (session, _):
        owner = api_keys.find_project(session, project)
        lines = [line(row) for row in api_keys.list_keys(session, owner.id)]
    for text in lines:
        typer.echo(text)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, as `styleflow keys list` shows it: key_…")],
    project: Project = "default",
    home: Home = None,
) -> None:
    """Make a key worthless from now on. Harmless to repeat."""
    from styleflow import api_keys, audit

    with installation(home) as (session, _):
        owner = api_keys.find_project(session, project)
        before = api_keys.get_key(session, owner.id, key, lock=True).revoked_at
        row = api_keys.revoke(session, owner.id, key)
        if before is None:
            audit.record(session, owner.id, audit.OPERATOR, "key.revoked", row.id, {"name": row.name})
        text = line(row)
    typer.echo(text)


def line(row: ApiKeyRow) -> str:
    """One key, without anything that would let somebody use it; columns apart by tabs."""
    state = "valid"
    if row.expires_at is not None:
        state = f"until {_day(row.expires_at)}"
    if row.revoked_at is not None:
        state = f"revoked {_day(row.revoked_at)}"
    used = "never used" if row.last_used_at is None else f"used {_day(row.last_used_at)}"
    return "\t".join([row.id, f"sfk_{row.mode}_{row.key_id}_…", row.name, ",".join(row.scopes), state, used])


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _networks(cidrs: list[str]) -> list[str] | None:
    """In their usual form; None for none. Raises typer.BadParameter."""
    from styleflow.key_grants import networks

    try:
        return [str(network) for network in networks(cidrs)] or None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cidr") from error


@contextmanager
def installation(home: Path | None) -> Iterator[tuple[Session, Settings]]:
    """A transaction on the installation's database, and its settings; an expected error is one sentence."""
    from styleflow.cli.stack import home_folder
    from styleflow.database import Database
    from styleflow.settings import Settings

    with errors_as_exit():
        settings = Settings(_env_file=home_folder(home) / "environment")
        database = Database(settings.database_url, pool_size=1)
        try:
            with database.transaction() as session:
                yield session, settings
        finally:
            database.close()
