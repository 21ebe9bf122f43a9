"""`styleflow health`: whether the part that runs beside this command does its work. For container health checks."""

from __future__ import annotations

import socket
from enum import StrEnum

import typer


class Part(StrEnum):
    """What can be asked about."""

    API = "api"
    WORKER = "worker"
    LIGHT_WORKER = "light-worker"


def health(part: Part) -> None:
    """Exit with 0 when that part on this machine is well, else with 1."""
    checks = {Part.API: _api, Part.WORKER: _worker, Part.LIGHT_WORKER: _light_worker}
    if not checks[part]():
        raise typer.Exit(1)


def _api() -> bool:
    import httpx

    from styleflow.settings import Settings

    try:
        answer = httpx.get(f"http://127.0.0.1:{Settings().port}/readyz", timeout=4, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.is_success


def _worker() -> bool:
    """A worker of this host was seen in the last minute; its name begins with the host's."""
    return _found(
        "select exists (select from workers where starts_with(id, %s) and seen_at > now() - interval '60 seconds')",
        (f"{socket.gethostname()}-",),
    )


def _light_worker() -> bool:
    """A light worker is connected to the database from where we are."""
    return _found(
        "select exists (select from pg_stat_activity where application_name = 'styleflow-duties'"
        " and client_addr is not distinct from inet_client_addr())",
        (),
    )


def _found(query: str, values: tuple[str, ...]) -> bool:
    import psycopg

    from styleflow.database import psycopg_url
    from styleflow.settings import Settings

    try:
        with psycopg.connect(psycopg_url(Settings().database_url), connect_timeout=4) as connection:
            row = connection.execute(query.encode(), values).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])
