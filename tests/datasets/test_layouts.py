"""Every public layout as a tree of empty files: complete, and with one file gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from styleflow.datasets.faceforensics import METHODS
from styleflow.datasets.layout import ScanWish
from styleflow.datasets.manifest import DatasetError, Manifest
from styleflow.datasets.registry import LAYOUTS, scan


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def faceforensics(root: Path, compression: str = "c23") -> None:
    splits = {"train": [["000", "003"]], "val": [["011", "805"]], "test": [["953", "974"]]}
    for name, pairs in splits.items():
        (root / f"{name}.json").write_text(json.dumps(pairs))
        for a, b in pairs:
            touch(root, *(f"original_sequences/youtube/{compression}/videos/{n}.mp4" for n in (a, b)))
            for method in METHODS:
                folder = f"manipulated_sequences/{method}/{compression}/videos"
                touch(root, f"{folder}/{a}_{b}.mp4", f"{folder}/{b}_{a}.mp4")


def deepfakedetection(root: Path) -> None:
    touch(
        root,
        "original_sequences/actors/c23/videos/01__kitchen.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen__ABCDEFGH.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/02_01__hall__ABCDEFGH.mp4",
    )


def celeb_df(root: Path) -> None:
    names = ["Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id16_0000.mp4", "YouTube-real/00170.mp4"]
    touch(root, *names, "Celeb-real/id0_0009.mp4")
    (root / "List_of_testing_videos.txt").write_text("".join(f"{int('synth' not in n)} {n}\n" for n in names))


def dfdc(root: Path) -> None:
    touch(root, "part_0/a.mp4", "part_0/b.mp4")
    facts = {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}}
    (root / "part_0" / "metadata.json").write_text(json.dumps(facts))


def dfdcp(root: Path) -> None:
    touch(root, "method_A/1/a.mp4", "original_videos/1/b.mp4")
    facts = {
        "method_A/1/a.mp4": {"label": "fake", "set": "test", "target_id": 1},
        "original_videos/1/b.mp4": {"label": "real", "set": "test", "target_id": 1},
    }
    (root / "dataset.json").write_text(json.dumps(facts))


def deeperforensics(root: Path) -> None:
    for number, name in enumerate(("train", "val", "test")):
        touch(root, f"manipulated_videos/end_to_end/00{number}_M101.mp4")
        (root / "lists" / "splits").mkdir(parents=True, exist_ok=True)
        (root / "lists" / "splits" / f"{name}.txt").write_text(f"00{number}_M101.mp4\n")


def ffiw(root: Path) -> None:
    touch(root, "source/val/1.mp4", "target/val/1.mp4", "source/test/2.mp4", "target/test/2.mp4")


def folder(root: Path) -> None:
    touch(root, "train/real/ann__1.mp4", "train/fake/gen/ann__1.mp4", "test/real/bob.mov", "test/fake/eve.mp4")


TREES: dict[str, tuple[Callable[[Path], None], dict[tuple[str, str, str], int], str | None]] = {
    "faceforensics": (
        faceforensics,
        {
            **{(split, "real", ""): 2 for split in ("train", "validation", "test")},
            **{(split, "fake", method): 2 for split in ("train", "validation", "test") for method in METHODS},
        },
        "manipulated_sequences/FaceShifter/c23/videos/805_011.mp4",
    ),
    "deepfakedetection": (
        deepfakedetection,
        {("test", "real", ""): 1, ("test", "fake", "DeepFakeDetection"): 2},
        None,
    ),
    "celeb-df-v2": (
        celeb_df,
        {("test", "real", ""): 2, ("test", "fake", "Celeb-synthesis"): 1},
        "Celeb-synthesis/id0_id16_0000.mp4",
    ),
    "dfdc": (dfdc, {("train", "fake", "DFDC"): 1, ("train", "real", ""): 1}, "part_0/b.mp4"),
    "dfdcp": (dfdcp, {("test", "fake", "method_A"): 1, ("test", "real", ""): 1}, "method_A/1/a.mp4"),
    "deeperforensics": (
        deeperforensics,
        {(split, "fake", "DeeperForensics/end_to_end"): 1 for split in ("train", "validation", "test")},
        "manipulated_videos/end_to_end/001_M101.mp4",
    ),
    "ffiw": (
        ffiw,
        {(split, *kind): 1 for split in ("validation", "test") for kind in (("real", ""), ("fake", "FFIW"))},
        "target/test/2.mp4",
    ),
    "folder": (
        folder,
        {
            ("train", "real", ""): 1,
            ("train", "fake", "gen"): 1,
            ("test", "real", ""): 1,
            ("test", "fake", "unknown"): 1,
        },
        None,
    ),
}


def scanned(name: str, root: Path) -> Manifest:
    return scan(name, root, ScanWish(licence="theirs"))


def test_every_layout_is_tried_here() -> None:
    assert TREES.keys() | {"csv"} == LAYOUTS.keys()


@pytest.mark.parametrize("name", TREES)
def test_a_complete_set_is_listed_whole(name: str, tmp_path: Path) -> None:
    draw, counts, _ = TREES[name]
    draw(tmp_path)

    found = scanned(name, tmp_path)

    assert found.counts() == counts
    assert found.missing == ()
    assert {entry.licence for entry in found.entries} == {"theirs"}
    assert all((tmp_path / entry.path).is_file() for entry in found.entries)
    there = {entry.path for entry in found.entries}
    assert all(PurePosixPath(entry.pair) in there for entry in found.entries if entry.pair)


@pytest.mark.parametrize("name", [name for name, (_, _, gone) in TREES.items() if gone])
def test_a_missing_video_is_named_and_nothing_refers_to_it(name: str, tmp_path: Path) -> None:
    draw, counts, gone = TREES[name]
    draw(tmp_path)
    assert gone is not None
    (tmp_path / gone).unlink()

    found = scanned(name, tmp_path)

    assert found.missing == (PurePosixPath(gone),)
    assert sum(found.counts().values()) == sum(counts.values()) - 1
    assert gone not in {entry.pair for entry in found.entries}


@pytest.mark.parametrize("name", list(TREES))
def test_a_folder_that_holds_something_else_is_refused(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "readme.txt")

    with pytest.raises(DatasetError):
        scanned(name, tmp_path)


def test_both_directions_of_a_swap_share_an_identity_and_each_has_its_own_original(tmp_path: Path) -> None:
    faceforensics(tmp_path)

    fakes = [entry for entry in scanned("faceforensics", tmp_path).entries if entry.generator == "Deepfakes"]

    assert {entry.identity for entry in fakes if entry.split == "train"} == {"000_003"}
    assert all(PurePosixPath(entry.pair or "").stem == entry.path.stem.split("_")[0] for entry in fakes)


@pytest.mark.parametrize("word", ["c0", "raw"])
def test_uncompressed_videos_may_lie_under_either_word(tmp_path: Path, word: str) -> None:
    faceforensics(tmp_path, word)

    found = scan("faceforensics", tmp_path, ScanWish(compression="c0"))

    assert found.missing == ()


def test_the_fake_of_a_celebrity_belongs_to_the_video_that_it_was_made_of(tmp_path: Path) -> None:
    celeb_df(tmp_path)

    (fake,) = (entry for entry in scanned("celeb-df-v2", tmp_path).entries if entry.label == "fake")

    assert (fake.identity, fake.pair) == ("id0", "Celeb-real/id0_0000.mp4")


@pytest.mark.parametrize(
    ("name", "file", "content", "told"),
    [
        ("faceforensics", "val.json", "[1, 2]", "val.json is no list of pairs"),
        ("celeb-df-v2", "List_of_testing_videos.txt", "maybe Celeb-real/a.mp4\n", "not `0|1 folder/file`"),
        ("dfdc", "part_0/metadata.json", "[]", "an object of objects"),
        ("dfdcp", "dataset.json", '{"a/b.mp4": {"label": "real", "set": "dev"}}', "names a split 'dev'"),
    ],
)
def test_a_list_that_cannot_be_understood_is_refused(
    tmp_path: Path, name: str, file: str, content: str, told: str
) -> None:
    TREES[name][0](tmp_path)
    (tmp_path / file).write_text(content)

    with pytest.raises(DatasetError, match=told.replace("|", r"\|")):
        scanned(name, tmp_path)


def test_an_unknown_layout_and_a_root_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no layout 'imagenet'"):
        scanned("imagenet", tmp_path)
    with pytest.raises(DatasetError, match="is not there"):
        scanned("folder", tmp_path / "nothing")
