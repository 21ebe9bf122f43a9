"""`python -m styleflow.cli.prepare HOME`: what must be there before the doors open. Run at every start.

A process of its own, so that the one that supervises stays small: no database driver, no schema tool.
"""

from __future__ import annotations

import sys
from pathlib import Path

from migrations.upgrade import upgrade
from styleflow import api_keys
from styleflow.cli.stack import write_private
from styleflow.database import Database
from styleflow.errors import Unauthenticated
from styleflow.settings import Settings

PROJECT = "default"


def prepare(settings: Settings, home: Path) -> None:
    """Bring the schema up to date and make sure that `home/api-key` holds a key that works."""
    upgrade(settings.database_url)
    database = Database(settings.database_url, pool_size=1)
    try:
        ensure_key(database, settings.secret_key.get_secret_value(), home / "api-key")
    finally:
        database.close()


def ensure_key(database: Database, pepper: str, path: Path) -> None:
    """Keep the key in `path` if this database knows it, else make one with every scope."""
    with database.transaction() as session:
        try:
            api_keys.authenticate(session, pepper, path.read_text().strip())
        except (FileNotFoundError, Unauthenticated):
            project = api_keys.ensure_project(session, PROJECT)
            _, plaintext = api_keys.create(session, pepper, project.id, "embedded", sorted(api_keys.SCOPES), None)
            write_private(path, plaintext)


if __name__ == "__main__":
    prepare(Settings(), Path(sys.argv[1]))
