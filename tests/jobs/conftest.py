"""A project to submit to."""

from __future__ import annotations

import pytest

from styleflow.database import Database
from tests.jobs.desk import Desk


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)
