"""Sessions as rooms get them, and JSON as they read it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Text, cast, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB

from styleflow.database import Database

_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=8)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_VALUES)
def test_json_comes_back_as_python_reads_it(database: Database, value: Any) -> None:
    with database.reading() as session:
        as_text, loaded = session.execute(
            select(cast(cast(literal(json.dumps(value)), JSONB), Text), cast(literal(json.dumps(value)), JSONB))
        ).one()
    assert loaded == json.loads(as_text)


def test_a_look_needs_no_transaction_and_leaves_none_behind(database: Database) -> None:
    with database.reading() as session:
        first = session.execute(text("select txid_current()")).scalar_one()
        assert session.execute(text("select txid_current()")).scalar_one() != first
    with database.transaction() as session:
        first = session.execute(text("select txid_current()")).scalar_one()
        assert session.execute(text("select txid_current()")).scalar_one() == first
