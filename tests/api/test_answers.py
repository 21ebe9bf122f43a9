"""Bodies on the wire: written once, and the same as their JSON values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.answers import as_json, ok
from api.schemas.jobs import JOB_EXAMPLE, Job, JobPage

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(st.dictionaries(st.text(), _VALUES), st.datetimes(timezones=st.just(UTC)), st.none() | st.floats(-50, 50))
def test_a_body_holds_the_values_of_its_model(metadata: dict[str, Any], moment: datetime, score: float | None) -> None:
    changed = {"metadata": metadata, "created_at": moment, "score": score, "state": "succeeded"}
    job = Job.model_validate({**JOB_EXAMPLE, **changed})
    body = JobPage(data=[job, job], next_cursor="é\u2028\x1f", has_more=True)
    answer = ok(body, {"Link": "x"}, status=202)
    assert json.loads(answer.body) == as_json(body)
    assert (answer.status_code, answer.media_type, answer.headers["Link"]) == (202, "application/json", "x")
    assert int(answer.headers["Content-Length"]) == len(answer.body)
