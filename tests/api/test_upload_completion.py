from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.upload_completion import check_parts
from styleflow.errors import UploadMismatch
from styleflow.storage.multiparts import Part, PartPlan, StoredPart

plans = st.builds(PartPlan, st.integers(1, 40), st.integers(1, 9))
etags = st.sampled_from(["a", "b"])


def all_of(plan: PartPlan, etag: str = "a") -> list[StoredPart]:
    return [StoredPart(number=n, etag=etag, size_bytes=plan.size_of(n)) for n in range(1, plan.count + 1)]


def named(stored: list[StoredPart]) -> list[Part]:
    return [Part(number=part.number, etag=part.etag) for part in stored]


@given(plans)
def test_what_was_planned_and_arrived_is_accepted(plan: PartPlan) -> None:
    check_parts(plan, named(all_of(plan)), all_of(plan))


@given(
    plans,
    st.lists(st.builds(Part, number=st.integers(1, 6), etag=etags), max_size=6),
    st.lists(st.builds(StoredPart, number=st.integers(1, 6), etag=etags, size_bytes=st.integers(0, 9)), max_size=6),
)
def test_whatever_is_accepted_is_the_whole_file_once_and_lies_there(
    plan: PartPlan, parts: list[Part], stored: list[StoredPart]
) -> None:
    with suppress(UploadMismatch):
        check_parts(plan, parts, stored)
        sizes = {(part.number, part.etag): part.size_bytes for part in stored}
        assert sum(sizes[part.number, part.etag] for part in parts) == plan.size_bytes
        assert [part.number for part in parts] == list(range(1, plan.count + 1))


@given(plans, st.data())
def test_one_part_that_is_short_long_missing_or_another_is_a_mismatch(plan: PartPlan, data: st.DataObject) -> None:
    stored = all_of(plan)
    position = data.draw(st.integers(0, plan.count - 1))
    found = stored[position]
    wrong = data.draw(
        st.sampled_from(
            [
                [StoredPart(number=found.number, etag=found.etag, size_bytes=found.size_bytes + 1)],
                [StoredPart(number=found.number, etag=found.etag, size_bytes=found.size_bytes - 1)],
                [StoredPart(number=found.number, etag="b", size_bytes=found.size_bytes)],
                [],
            ]
        )
    )

    with pytest.raises(UploadMismatch):
        check_parts(plan, named(stored), [*stored[:position], *wrong, *stored[position + 1 :]])
