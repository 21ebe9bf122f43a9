"""Which project may write into which bucket."""

from __future__ import annotations

import pytest

from styleflow.errors import SourceNotAllowed
from styleflow.exports.destinations import may_write
from styleflow.settings import Settings
from worker.installation import export_bucket

ALLOWED = ["warehouse", "acme-exports:prj_acme"]


@pytest.mark.parametrize(
    ("project", "bucket", "allowed"),
    [
        ("prj_acme", "acme-exports", True),
        ("prj_other", "acme-exports", False),
        ("prj_acme", "warehouse", True),
        ("prj_other", "warehouse", True),
        ("prj_other", "acme-exports:prj_acme", False),
        ("prj_acme", "unheard-of", False),
    ],
)
def test_a_bucket_with_a_project_is_for_that_project_and_one_without_for_all(
    project: str, bucket: str, allowed: bool
) -> None:
    assert may_write(ALLOWED, project, bucket) is allowed


def test_the_light_worker_asks_again_since_the_operator_may_have_changed_the_list() -> None:
    settings = Settings(bucket_url="s3://ours", export_buckets=["acme-exports:prj_acme", "ours"])

    assert export_bucket(settings, "prj_acme", "acme-exports").name == "acme-exports"
    for project, bucket in (("prj_other", "acme-exports"), ("prj_acme", "ours")):
        with pytest.raises(SourceNotAllowed):
            export_bucket(settings, project, bucket)
