from __future__ import annotations

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.writes import Notification, Write, write_all

PROJECT = Write("insert into projects (id, name) values (:project_id, :project_name)", {
    "project_id": "prj_1",
    "project_name": "one",
})  # fmt: skip
ENDING = Write("delete from projects where id = :ended", {"ended": "prj_0"})


def names(database: Database) -> list[str]:
    with database.transaction() as session:
        return list(session.scalars(text("select name from projects order by name")))


def test_several_writes_are_one_statement(database: Database) -> None:
    statements: list[str] = []
    with database.transaction() as session:
        session.execute(text("insert into projects (id, name) values ('prj_0', 'zero')"))
        event.listen(session.connection(), "before_cursor_execute", lambda *seen: statements.append(seen[2]))
        write_all(session, [PROJECT, ENDING])

    assert len(statements) == 1
    assert names(database) == ["one"]


def test_a_row_may_refer_to_one_that_another_write_inserts(database: Database) -> None:
    usage = Write("insert into project_activity (project_id, active_jobs) values (:active, 3)", {"active": "prj_1"})

    with database.transaction() as session:
        write_all(session, [usage, PROJECT])

    with database.transaction() as session:
        assert session.scalar(text("select active_jobs from project_activity")) == 3


def test_a_notification_goes_out_with_the_commit(database: Database) -> None:
    with database.listener() as listener:
        listener.execute("listen writes_test")
        with database.transaction() as session:
            write_all(session, [PROJECT], Notification("writes_test", "hello"))
            assert list(listener.notifies(timeout=0.1, stop_after=1)) == []
        (heard,) = listener.notifies(timeout=5, stop_after=1)

    assert (heard.channel, heard.payload) == ("writes_test", "hello")


def test_nothing_to_write_is_no_statement() -> None:
    write_all(Session(), [])  # bound to no database: a statement would be an error


def test_two_writes_with_parameters_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="project_id"):
        write_all(Session(), [PROJECT, Write("select :project_id", {"project_id": "other"})])
