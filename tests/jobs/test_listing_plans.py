"""A page of a filter that few jobs pass is read along an index of that filter, and not by looking at every job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import event, text

from styleflow.jobs.queries import JobFilters, list_jobs
from tests.jobs.desk import PROJECT, Desk

_MANY = text(
    "insert into jobs (id, project_id, state, lane, source, model, options, tags, metadata, max_attempts, created_at)"
    " select 'job_' || lpad(n::text, 6, '0'), :project, 'queued', 'bulk', '{}', 'm', '{}', '{}', '{}', 5,"
    " now() - n * interval '1 second' from generate_series(1, 20000) as n"
)


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_lane_with_few_jobs_among_many(desk: Desk, oldest_first: bool) -> None:
    desk.do(lambda session: session.execute(_MANY, {"project": PROJECT}))
    with desk.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze jobs"))
    caught: list[Sequence[Any]] = []
    event.listen(desk.database.engine, "before_cursor_execute", lambda *arguments: caught.append(arguments[2:4]))

    assert (
        desk.do(lambda session: list_jobs(session, PROJECT, JobFilters(lane="realtime"), 51, oldest_first=oldest_first))
        == []
    )

    statement, parameters = caught[-1]
    with desk.database.engine.connect() as connection:
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"explain {statement}", parameters))
    assert "ix_jobs_lane" in plan, plan
    assert "Sort" not in plan, plan
