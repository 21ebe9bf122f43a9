"""Every public layout as a tree of empty files: complete, and with one file gone."""

from __future__ import annotations

import json
import re
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
        "original_sequences/actors/c23/videos/02__hall.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen__ABCDEFGH.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/02_01__hall__ABCDEFGH.mp4",
    )


def celeb_df(root: Path) -> None:
    names = ["Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id16_0000.mp4", "YouTube-real/00170.mp4"]
    touch(root, *names, "Celeb-real/id0_0009.mp4")
    (root / "List_of_testing_videos.txt").write_text("".join(f"{int('synth' not in n)} {n}\n" for n in names))


def dfdc(root: Path) -> None:
    touch(root, "train/part_0/a.mp4", "train/part_0/b.mp4", "test/c.mp4", "test/d.mp4", "validation/e.mp4")
    facts: dict[str, object] = {
        "a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"},
        "b.mp4": {"label": "REAL", "split": "train"},
    }
    (root / "train" / "part_0" / "metadata.json").write_text(json.dumps(facts))
    facts = {"c.mp4": {"is_fake": 1, "augmentations": []}, "d.mp4": {"is_fake": 0}}
    (root / "test" / "metadata.json").write_text(json.dumps(facts))
    (root / "validation" / "labels.csv").write_text("filename,label\ne.mp4,1\n")


def dfdcp(root: Path) -> None:
    fake, real = "method_A/1/1_C/2_1_C_001.mp4", "original_videos/1/1_C_001.mp4"
    touch(root, fake, real)
    facts = {
        fake: {"label": "fake", "set": "test", "target_id": 1, "swapped_id": 2},
        real: {"label": "real", "set": "test", "target_id": 1, "swapped_id": None},
    }
    (root / "dataset.json").write_text(json.dumps(facts))


def deeperforensics(root: Path) -> None:
    for number, name in enumerate(("train", "val", "test")):
        touch(root, f"manipulated_videos/end_to_end/00{number}_M10{number}.mp4")
        (root / "lists" / "splits").mkdir(parents=True, exist_ok=True)
        (root / "lists" / "splits" / f"{name}.txt").write_text(f"00{number}_M10{number}.mp4\n")


def df40(root: Path) -> None:
    touch(
        root,
        "simswap/ff/000_003.mp4",
        "simswap/cdf/id0_id1_0000.mp4",
        "heygen/heygen_new/fake/a.mp4",
        "heygen/heygen_new/real/a.mp4",
        "pixart/ff/000/1.png",
    )


def ffiw(root: Path) -> None:
    for half in ("source", "target"):
        touch(root, f"{half}/val/val_00000001.mp4", f"{half}/test_00000002.mp4")


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
        {("test", "real", ""): 2, ("test", "fake", "DeepFakeDetection"): 2},
        "original_sequences/actors/c23/videos/02__hall.mp4",
    ),
    "celeb-df-v2": (
        celeb_df,
        {("test", "real", ""): 2, ("test", "fake", "Celeb-synthesis"): 1},
        "Celeb-synthesis/id0_id16_0000.mp4",
    ),
    "dfdc": (
        dfdc,
        {
            ("train", "fake", "DFDC"): 1,
            ("train", "real", ""): 1,
            ("validation", "fake", "DFDC"): 1,
            ("test", "fake", "DFDC"): 1,
            ("test", "real", ""): 1,
        },
        "train/part_0/b.mp4",
    ),
    "dfdcp": (
        dfdcp,
        {("test", "fake", "method_A"): 1, ("test", "real", ""): 1},
        "original_videos/1/1_C_001.mp4",
    ),
    "deeperforensics": (
        deeperforensics,
        {(split, "fake", "DeeperForensics/end_to_end"): 1 for split in ("train", "validation", "test")},
        "manipulated_videos/end_to_end/001_M101.mp4",
    ),
    "df40": (
        df40,
        {("test", "fake", "simswap"): 2, ("test", "fake", "heygen"): 1, ("test", "real", ""): 1},
        None,
    ),
    "ffiw": (
        ffiw,
        {(split, *kind): 1 for split in ("validation", "test") for kind in (("real", ""), ("fake", "FFIW"))},
        "target/test_00000002.mp4",
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
        ("faceforensics", "test.json", "{", "test.json is needed and cannot be read"),
        ("faceforensics", "val.json", "[1, 2]", "val.json is no list of pairs"),
        ("celeb-df-v2", "List_of_testing_videos.txt", "maybe Celeb-real/a.mp4\n", "not `0|1 folder/file`"),
        ("dfdc", "test/metadata.json", "[]", "an object of objects"),
        ("dfdc", "test/metadata.json", '{"c.mp4": {}}', "gives c.mp4 the label None"),
        ("dfdc", "train/part_0/metadata.json", '{"a.mp4": {"label": "REAL", "split": 1}}', "names a split 1"),
        ("dfdc", "validation/labels.csv", "name,label\ne.mp4,1\n", "the columns filename and label"),
        ("dfdcp", "dataset.json", '{"a/b.mp4": {"set": "test"}}', "gives a/b.mp4 the label None"),
        ("deeperforensics", "lists/splits/val.txt", "001.mp4\n", "not `target_actor.mp4`"),
        ("ffiw", "target/odd.mp4", "", "neither the folder nor the name of odd.mp4"),
        ("dfdcp", "dataset.json", '{"a/b.mp4": {"label": "real", "set": "dev"}}', "names a split 'dev'"),
    ],
)
def test_a_list_that_cannot_be_understood_is_refused(
    tmp_path: Path, name: str, file: str, content: str, told: str
) -> None:
    TREES[name][0](tmp_path)
    (tmp_path / file).write_text(content)

    with pytest.raises(DatasetError, match=re.escape(told)):
        scanned(name, tmp_path)


def test_the_originals_of_a_fake_are_found_by_its_name(tmp_path: Path) -> None:
    pairs = {}
    for name in ("deepfakedetection", "dfdc", "dfdcp", "ffiw"):
        TREES[name][0](tmp_path / name)
        pairs |= {entry.path.as_posix(): entry.pair for entry in scanned(name, tmp_path / name).entries if entry.pair}

    actors = "original_sequences/actors/c23/videos"
    fakes = "manipulated_sequences/DeepFakeDetection/c23/videos"
    assert pairs == {
        f"{fakes}/01_02__kitchen__ABCDEFGH.mp4": f"{actors}/01__kitchen.mp4",
        f"{fakes}/02_01__hall__ABCDEFGH.mp4": f"{actors}/02__hall.mp4",
        "train/part_0/a.mp4": "train/part_0/b.mp4",
        "method_A/1/1_C/2_1_C_001.mp4": "original_videos/1/1_C_001.mp4",
        "target/val/val_00000001.mp4": "source/val/val_00000001.mp4",
        "target/test_00000002.mp4": "source/test_00000002.mp4",
    }


@pytest.mark.parametrize(
    ("name", "people"),
    [
        ("deepfakedetection", {"actor-01", "actor-02"}),
        ("celeb-df-v2", {"id0", "youtube-00170"}),
        ("dfdc", {"b", "c", "d", "e"}),
        ("dfdcp", {"1"}),
        ("deeperforensics", {"M100", "M101", "M102"}),
        ("df40", {"ff-000", "cdf-id0", "heygen-a"}),
        ("ffiw", {"val_00000001", "test_00000002"}),
        ("folder", {"ann", "bob", "eve"}),
    ],
)
def test_identities_are_the_people_or_the_videos_that_were_swapped(name: str, people: set[str], tmp_path: Path) -> None:
    TREES[name][0](tmp_path)

    assert {entry.identity for entry in scanned(name, tmp_path).entries} == people


def test_a_split_that_is_not_wished_neither_counts_nor_is_missed(tmp_path: Path) -> None:
    faceforensics(tmp_path)
    (tmp_path / "train.json").unlink()
    (tmp_path / "original_sequences/youtube/c23/videos/011.mp4").unlink()

    found = scan("faceforensics", tmp_path, ScanWish(splits=("test",)))

    assert {entry.split for entry in found.entries} == {"test"}
    assert found.missing == ()
    with pytest.raises(DatasetError, match="no split 'dev'"):
        ScanWish(splits=("dev",))
    deeperforensics(tmp_path / "other")
    with pytest.raises(DatasetError, match="holds no videos of this layout in train"):
        scan("df40", tmp_path / "other" / "manipulated_videos", ScanWish(splits=("train",)))


def test_the_videos_of_a_csv_are_looked_for_and_keep_their_licence(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    lines = ["file,split,label,identity,pair,licence", "a.mp4,train,fake,ann,c.mp4,own", "b.mp4,train,real,ann,,"]
    (tmp_path / "list.csv").write_text("\n".join([*lines, "c.mp4,train,real,ann,,"]))

    found = scanned("csv", tmp_path / "list.csv")

    assert found.missing == (PurePosixPath("c.mp4"),)
    assert [(entry.path.name, entry.pair, entry.licence) for entry in found.entries] == [
        ("a.mp4", None, "own"),
        ("b.mp4", None, "theirs"),
    ]


def test_a_part_of_the_challenge_may_be_scanned_alone(tmp_path: Path) -> None:
    dfdc(tmp_path)

    assert scanned("dfdc", tmp_path / "validation").entries[0].split == "validation"


def test_an_unknown_layout_and_a_root_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no layout 'imagenet'"):
        scanned("imagenet", tmp_path)
    with pytest.raises(DatasetError, match="is not there"):
        scanned("folder", tmp_path / "nothing")
