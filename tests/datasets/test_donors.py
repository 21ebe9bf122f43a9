from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.datasets.donors import with_donors
from styleflow.datasets.manifest import DatasetError, Manifest

LINES = """file,split,label,identity,donor
Ann_1.mp4,train,real,a,
Ann_2.mp4,train,fake,b,
Ann_3.mp4,train,fake,c,Bob
other.mp4,train,fake,d,
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "manifest.csv").write_text(LINES)
    return Manifest.from_csv(tmp_path / "manifest.csv")


def test_a_fakes_name_tells_whose_face_it_shows_unless_the_manifest_does(manifest: Manifest) -> None:
    found = with_donors(manifest, r"^([A-Z][a-z]+)_\d")

    assert [entry.donor for entry in found.entries] == [None, "Ann", "Bob", None]


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_a_pattern_that_tells_nothing_is_refused(manifest: Manifest, pattern: str) -> None:
    with pytest.raises(DatasetError, match="pattern"):
        with_donors(manifest, pattern)
