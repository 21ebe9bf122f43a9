"""A copyroom with an empty bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.database import Database
from styleflow.storage.local import LocalBucket
from tests.exports.copyroom import Copyroom
from tests.jobs.desk import Desk


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Copyroom:
    return Copyroom(Desk(database), LocalBucket(tmp_path / "bucket"))
