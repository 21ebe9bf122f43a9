"""`styleflow audit`: is the record of administrative acts whole?

The database is the one that STYLEFLOW_DATABASE_URL names, else that of a running `styleflow up` of this home.
"""

from __future__ import annotations

from typing import Annotated

import typer

from styleflow.cli.keys import installation
from styleflow.cli.up import Home

app = typer.Typer(no_args_is_help=True, help="The record of administrative acts.")


@app.callback()
def audit() -> None:
    """Each project's events form a chain of hashes."""


@app.command()
def verify(
    project: Annotated[str | None, typer.Option(help="Name of the tenant.", show_default="all")] = None,
    home: Home = None,
) -> None:
    """Recompute the chains. Per project: name, events, sequence and hash of the newest, and `whole` or the first event
    that does not fit. Ends with 1 when one is broken. Keep the newest hash elsewhere to notice a chain made anew."""
    from sqlalchemy import select

    from styleflow import api_keys
    from styleflow.audit import verify as verify_chain
    from styleflow.tables import ProjectRow

    broken = False
    with installation(home) as (session, _):
        if project is not None:
            api_keys.find_project(session, project)
        known = session.execute(select(ProjectRow.id, ProjectRow.name).order_by(ProjectRow.name)).all()
        for project_id, name in known:
            if project not in (None, name):
                continue
            found = verify_chain(session, project_id)
            broken = broken or found.broken is not None
            columns = [
                name,
                str(found.events),
                str(found.head_sequence),
                found.head_hash.hex(),
                found.broken or "whole",
            ]
            typer.echo("\t".join(columns))
    if broken:
        raise typer.Exit(1)
