"""`styleflow migrate`: bring the database to the schema of this version."""

from __future__ import annotations

from styleflow.cli.up import errors_as_exit


def migrate() -> None:
    """Apply the migrations that the database of STYLEFLOW_DATABASE_URL lacks; nothing happens when there are none."""
    with errors_as_exit():
        from styleflow.cli.stack import checkout_folder
        from styleflow.settings import Settings

        checkout_folder()
        from migrations.upgrade import upgrade

        upgrade(Settings().database_url)
