from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from styleflow.training.geometry import Geometry
from styleflow.training.store import INDEX, Store, StoreError, VideoFacts
from tests.training.drawn_store import drawn_clip, drawn_landmarks, write_drawn

GEOMETRY = Geometry(16)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    store = Store.create(tmp_path, GEOMETRY, "v1")
    facts = VideoFacts(key="a", label="fake", identity="ann", generator="gen", pair="b", source_sha256="0" * 64)
    clip, marks = drawn_clip(1, GEOMETRY.wide_size), drawn_landmarks(GEOMETRY.wide_size)

    store.write(facts, [clip, clip], [marks, marks], starts=[0.5, 3.0])

    (video,) = Store.open(tmp_path).videos
    assert (video.facts, video.clips, video.starts) == (facts, 2, (0.5, 3.0))
    assert np.abs(video.frames(1).astype(int) - clip).mean() <= 4
    np.testing.assert_allclose(video.landmarks(0), marks, rtol=2e-3)


def test_a_store_goes_on_where_it_was_and_refuses_other_sizes(tmp_path: Path) -> None:
    write_drawn(Store.create(tmp_path, GEOMETRY, "v1"))

    again = Store.create(tmp_path, GEOMETRY, "v2")

    assert len(again.videos) > 1
    with pytest.raises(StoreError, match="content size of 16 px"):
        Store.create(tmp_path, Geometry(32), "v2")


def test_a_store_is_not_gone_on_with_for_other_numbers(tmp_path: Path) -> None:
    four = {"clips_per_video": 4, "frame_step": 1}
    Store.create(tmp_path, GEOMETRY, "v1", made_with=four)

    Store.create(tmp_path, GEOMETRY, "v2", made_with=four)
    Store.create(tmp_path, GEOMETRY, "v3")
    with pytest.raises(StoreError, match="prepared with clips_per_video 4, not 8: give that"):
        Store.create(tmp_path, GEOMETRY, "v2", made_with=four | {"clips_per_video": 8})
    assert Store.open(tmp_path).data_version == "v3"


def test_a_store_from_before_that_names_no_numbers_is_gone_on_with(tmp_path: Path) -> None:
    index = {"version": 2, "geometry": {"content_size": GEOMETRY.content_size}, "data_version": "v1"}
    (tmp_path / INDEX).write_text(json.dumps(index))

    for clips in (4, 8):
        Store.create(tmp_path, GEOMETRY, "v2", made_with={"clips_per_video": clips})


def written(store: Store, *facts: VideoFacts) -> None:
    clip, marks = drawn_clip(1, GEOMETRY.wide_size), drawn_landmarks(GEOMETRY.wide_size)
    for each in facts:
        store.write(each, [clip], [marks])


def keys_read(directory: Path) -> list[str]:
    return [video.facts.key for video in Store.open(directory).videos]


ANN, BOB = (VideoFacts(key=f"{name}.0", label="real", identity=name) for name in ("ann", "bob"))


def test_files_of_an_earlier_manifest_are_not_read(tmp_path: Path) -> None:
    """Bob is gone, Ann has moved to another split, and her file still says that she is learnt from."""
    both = {"ann.0": ("train", "ann"), "bob.0": ("train", "bob")}
    written(Store.create(tmp_path, GEOMETRY, "v1", listed=both), ANN, BOB)
    assert keys_read(tmp_path) == ["ann.0", "bob.0"]

    moved = Store.create(tmp_path, GEOMETRY, "v2", listed={"ann.0": ("validation", "ann")})
    assert keys_read(tmp_path) == []

    written(moved, replace(ANN, split="validation"))
    assert keys_read(tmp_path) == ["ann.0"]


def test_splits_can_be_prepared_one_after_the_other(tmp_path: Path) -> None:
    both = {"ann.0": ("train", "ann"), "bob.0": ("validation", "bob")}

    written(Store.create(tmp_path, GEOMETRY, "v1", listed=both), ANN)
    written(Store.create(tmp_path, GEOMETRY, "v1", listed=both), replace(BOB, split="validation"))

    assert keys_read(tmp_path) == ["ann.0", "bob.0"]


def test_a_person_of_another_name_is_another_person(tmp_path: Path) -> None:
    written(Store.create(tmp_path, GEOMETRY, "v1"), ANN)

    Store.create(tmp_path, GEOMETRY, "v2", listed={"ann.0": ("train", "anne")})

    assert keys_read(tmp_path) == []


def test_a_left_over_file_may_be_damaged(tmp_path: Path) -> None:
    written(Store.create(tmp_path, GEOMETRY, "v1"), ANN, BOB)
    (tmp_path / "clips" / "bob.0.safetensors").write_bytes(b"")

    Store.create(tmp_path, GEOMETRY, "v2", listed={"ann.0": ("train", "ann")})

    assert keys_read(tmp_path) == ["ann.0"]


def test_photos_stand_in_no_manifest_and_are_all_read(tmp_path: Path) -> None:
    write_drawn(Store.create(tmp_path, GEOMETRY, "v1"))

    Store.create(tmp_path, GEOMETRY, "v2", listed={})

    found = Store.open(tmp_path)
    assert (len(found.videos), len(found.photos)) == (0, 2)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no prepared store"):
        Store.open(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"version": 99, "geometry": {"content_size": 16}, "data_version": ""}))
    with pytest.raises(StoreError, match="version 99"):
        Store.open(tmp_path)


def test_a_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    store = Store.create(tmp_path, GEOMETRY, "v1")
    path = write_drawn(store)[0]
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(StoreError, match=path.name):
        _ = Store.open(tmp_path).videos


@pytest.mark.parametrize(
    ("name", "value"),
    [("clips", "3"), ("clips", "-1"), ("clips", "1"), ("frames_per_clip", "31"), ("starts", "[0.0]"), ("starts", "0")],
)
def test_a_file_whose_header_promises_other_clips_than_it_has_is_named(tmp_path: Path, name: str, value: str) -> None:
    store = Store.create(tmp_path, GEOMETRY, "v1")
    path = write_drawn(store)[0]
    with safe_open(path, framework="np") as file:
        header = file.metadata() | {name: value}
    save_file(load_file(path), path, metadata=header)

    with pytest.raises(StoreError, match=path.name):
        _ = Store.open(tmp_path).videos


@pytest.mark.parametrize("name", ["clip.1", "landmarks"])
def test_a_file_that_lacks_a_part_is_named(tmp_path: Path, name: str) -> None:
    store = Store.create(tmp_path, GEOMETRY, "v1")
    path = write_drawn(store)[0]
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    parts = load_file(path)
    del parts[name]
    save_file(parts, path, metadata=header)

    with pytest.raises(StoreError, match=path.name):
        _ = Store.open(tmp_path).videos


def test_nothing_unfinished_is_left_beside_a_file(tmp_path: Path) -> None:
    write_drawn(Store.create(tmp_path, GEOMETRY, "v1"))

    assert not list(tmp_path.rglob("*.part"))
