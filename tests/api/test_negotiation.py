"""Which form of a list an Accept header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.negotiation import CSV, JSON, LIST_FORMS, NDJSON, PARQUET, choose
from styleflow.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", CSV),
        ("text/csv", CSV),
        ("TEXT/CSV; charset=utf-8", CSV),
        ("application/x-ndjson", NDJSON),
        ("application/x-ndjson;q=0.5, text/csv;q=0.6", CSV),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("application/json;q=0, */*", NDJSON),
        ("application/*;q=0.2, application/json;q=0.1", NDJSON),
        ("text/csv;q=0, text/*;q=0.9, application/json;q=0.1", JSON),
        ("application/vnd.apache.parquet, text/csv;q=0.1", PARQUET),
        ("application/vnd.ms-excel, text/csv;q=0.1", CSV),
        ("text/csv;q=high", CSV),
        (",;,", JSON),
    ],
)
def test_the_best_liked_form_is_chosen(accept: str | None, form: str) -> None:
    assert choose(accept, LIST_FORMS) == form


@pytest.mark.parametrize(
    "accept", ["application/vnd.ms-excel", "text/html", "*/*;q=0", "text/csv;q=0", "image/*, text/csv;q=0.0"]
)
def test_a_form_that_is_not_written_here_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=", ".join(LIST_FORMS)):
        choose(accept, LIST_FORMS)


@given(st.text())
def test_no_header_breaks_it(accept: str) -> None:
    try:
        assert choose(accept, LIST_FORMS) in LIST_FORMS
    except NotAcceptable:
        assert "/" in accept
