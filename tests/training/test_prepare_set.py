from __future__ import annotations

import pytest

from styleflow.training.prepare_set import key_of


@pytest.mark.parametrize(
    ("one", "other"), [("a b.mp4", "a+b.mp4"), ("a.mp4", "a.mkv"), ("a/b.mp4", "a__b.mp4"), ("a.v1.mp4", "a.v2.mp4")]
)
def test_files_that_differ_only_in_special_signs_are_kept_apart(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


def test_a_file_outside_the_manifests_folder_is_not_hidden_in_the_store() -> None:
    assert key_of("../videos/a.mp4").startswith("videos__a-")
