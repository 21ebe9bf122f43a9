from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from styleflow.errors import StorageUnavailable
from styleflow.jobs.erasures import ErasureRunner, get_erasure
from styleflow.jobs.object_erasures import ObjectEraser, enqueue
from styleflow.storage.keys import report_key
from styleflow.storage.local import LocalBucket
from styleflow.webhook_tables import EventRow
from tests.jobs.desk import AGREED, PROJECT, Desk


class AwayBucket(LocalBucket):
    """A store that can be away."""

    away = True

    def erase(self, names: Iterable[str]) -> None:
        if self.away:
            raise StorageUnavailable
        super().erase(names)


@dataclass
class Yard:
    desk: Desk
    bucket: AwayBucket
    runner: ErasureRunner = field(init=False)
    eraser: ObjectEraser = field(init=False)

    def __post_init__(self) -> None:
        self.runner = ErasureRunner(database=self.desk.database, owner="test", selector_key=b"k" * 32)
        self.eraser = ObjectEraser(database=self.desk.database, bucket=self.bucket)

    def later(self) -> None:
        self.desk.sql("update object_erasures set due_at = now()")
        self.desk.sql("update erasures set lease_expires_at = now()")


@pytest.fixture
def yard(desk: Desk, tmp_path: Path) -> Yard:
    return Yard(desk, AwayBucket(tmp_path / "bucket"))


def test_a_store_that_is_away_delays_an_erasure_and_never_loses_it(yard: Yard) -> None:
    identity = yard.desk.succeeded(retention=AGREED)
    report = report_key(identity, 1)
    yard.bucket.put(report, b"{}", "application/json")
    erasure = yard.desk.erase(identity)

    for _ in range(3):
        yard.later()
        with pytest.raises(StorageUnavailable):
            yard.eraser.erase_due()
        yard.runner.run_once()
        assert yard.desk.do(get_erasure, PROJECT, erasure).state == "running"
    assert yard.eraser.erase_due() == 0, "it waits longer after each failure"
    assert yard.bucket.head(report) is not None

    yard.bucket.away = False
    yard.later()
    assert yard.eraser.erase_due() == 2
    yard.runner.run_once()

    assert yard.bucket.head(report) is None
    assert list(yard.bucket.list("")) == []
    row = yard.desk.do(get_erasure, PROJECT, erasure)
    assert (row.state, row.proof["counts"]["erased"]) == ("completed", 1)
    told = yard.desk.do(lambda session: [event.type for event in session.query(EventRow).filter_by(job_id=None)])
    assert told == ["data.erased"]


def test_what_was_queued_in_a_transaction_that_did_not_commit_is_not_erased(yard: Yard) -> None:
    def broken(session: Session) -> float:
        enqueue(session, ["one"])
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        yard.desk.do(broken)

    assert yard.desk.condemned() == []


def test_no_more_than_so_many_are_erased_at_a_time(yard: Yard) -> None:
    yard.bucket.away = False
    yard.desk.do(enqueue, [f"crops/{number}/" for number in range(5)])

    assert [yard.eraser.erase_due(2) for _ in range(4)] == [2, 2, 1, 0]


def test_an_upload_of_which_only_parts_have_arrived_is_aborted_and_no_other(yard: Yard) -> None:
    yard.bucket.away = False
    mine, other = "uploads/prj_test/upl_1", "uploads/prj_test/upl_10"
    for key in (mine, other):
        multipart_id = yard.bucket.multiparts.begin(key, "video/mp4")
    yard.desk.do(enqueue, [mine])

    assert yard.eraser.erase_due() == 1

    assert [found.multipart_id for found in yard.bucket.multiparts.list_open("")] == [multipart_id]
