"""`styleflow projects`: make tenants, list them, and say how much each may have.

The database is the one that STYLEFLOW_DATABASE_URL names, else that of a running `styleflow up` of this home.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from styleflow.cli.keys import installation
from styleflow.cli.up import Home

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = typer.Typer(no_args_is_help=True, help="Projects: the tenants.")

Name = Annotated[str, typer.Argument(help="Name of the tenant.")]


@app.callback()
def projects() -> None:
    """Everything a caller sees belongs to the project of its key."""


@app.command()
def create(name: Name, home: Home = None) -> None:
    """Make a project and print its id. One of that name that is there already is left as it is."""
    from sqlalchemy import select

    from styleflow import api_keys, audit
    from styleflow.tables import ProjectRow

    with installation(home) as (session, _):
        known = session.scalar(select(ProjectRow.id).where(ProjectRow.name == name))
        row = api_keys.ensure_project(session, name)
        if known is None:
            audit.record(session, row.id, audit.OPERATOR, "project.created", row.id, {"name": name})
        identity = row.id
    typer.echo(identity)


@app.command("list")
def list_(home: Home = None) -> None:
    """List the projects: id, name, day of creation, own quotas. Columns apart by tabs."""
    from sqlalchemy import select

    from styleflow.tables import ProjectRow

    with installation(home) as (session, _):
        rows = session.scalars(select(ProjectRow).order_by(ProjectRow.name)).all()
        lines = [[row.id, row.name, row.created_at.date().isoformat(), _written(_own(session, row.id))] for row in rows]
    for line in lines:
        typer.echo("\t".join(line))


@app.command(
    epilog="Example: styleflow projects quota acme jobs_per_day=10000 open_batches=unlimited active_jobs=default"
)
def quota(
    name: Name,
    changes: Annotated[
        list[str] | None, typer.Argument(help="QUOTA=NUMBER, QUOTA=unlimited or QUOTA=default; none only shows.")
    ] = None,
    home: Home = None,
) -> None:
    """Show what a project may have and has, or change it. It counts from the next request on."""
    from styleflow import api_keys, audit, quotas

    wanted = dict(_change(text, quotas.NAMES) for text in changes or ())
    with installation(home) as (session, settings):
        project = api_keys.find_project(session, name)
        if wanted:
            before = _own(session, project.id)
            after = quotas.set_own(session, project.id, wanted)
            changed = {one: {"before": before.get(one), "after": after[one]} for one in sorted(wanted)}
            audit.record(session, project.id, audit.OPERATOR, "quota.changed", project.id, changed)
        defaults = quotas.Quotas.from_settings(settings.model_dump())
        lines = [
            f"{one.name}\t{one.used}\t{one.limit or 'unlimited'}"
            for one in quotas.all_standings(session, project.id, defaults)
        ]
    for line in lines:
        typer.echo(line)


def _own(session: Session, project_id: str) -> Mapping[str, int | None]:
    from styleflow import quotas
    from styleflow.tenant_tables import ProjectQuotaRow

    row = session.get(ProjectQuotaRow, project_id, populate_existing=True)
    return {} if row is None else {name: getattr(row, name) for name in quotas.NAMES}


def _written(own: Mapping[str, int | None]) -> str:
    return " ".join(f"{name}={value or 'unlimited'}" for name, value in own.items() if value is not None)


def _change(text: str, names: tuple[str, ...]) -> tuple[str, int | None]:
    """Raises typer.BadParameter."""
    name, _, value = text.partition("=")
    if name not in names:
        raise typer.BadParameter(f"choose from {', '.join(names)}", param_hint="QUOTA")
    if value == "default":
        return name, None
    if value == "unlimited":
        return name, 0
    if not value.isdecimal() or not 1 <= int(value) < 2**53:
        raise typer.BadParameter(f"{name}: a whole number from 1, `unlimited` or `default`", param_hint="QUOTA")
    return name, int(value)
