from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.errors import InvalidRequest
from styleflow.storage import keys


def test_evidence_lies_under_its_job_and_attempt() -> None:
    assert keys.report_key("job_1", 3) == "evidence/job_1/3/report.json"
    assert keys.report_key("job_1", 3).startswith(keys.evidence_prefix("job_1"))
    assert not keys.report_key("job_12", 3).startswith(keys.evidence_prefix("job_1"))


def test_an_upload_lies_under_its_project() -> None:
    assert keys.upload_key("prj_1", "upl_1") == "uploads/prj_1/upl_1"
    assert keys.source_key("prj_1", "job_1") == "sources/prj_1/job_1"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        ".hidden/a",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\u202eb",
        "\udc80",
        "x" * 201,
        "/".join(["x" * 100] * 11),
    ],
)
def test_a_key_that_is_no_safe_path_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest):
        keys.checked(key)


@given(st.text(st.sampled_from("abé日 .-_/\\\0"), max_size=30))
def test_a_key_that_is_accepted_stays_below_any_folder(key: str) -> None:
    try:
        accepted = keys.checked(key)
    except InvalidRequest:
        return
    path = PurePosixPath("/root") / accepted
    assert str(path) == f"/root/{key}"
    assert ".." not in path.parts
