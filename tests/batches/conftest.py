"""A yard with an empty bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.database import Database
from styleflow.storage.local import LocalBucket
from tests.batches.yard import Yard
from tests.jobs.desk import Desk


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    return Yard(Desk(database), LocalBucket(tmp_path / "bucket"))
