from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleflow.datasets.manifest import LABELS, SPLITS, DatasetError, Manifest, ManifestEntry

words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    people = draw(st.lists(words, min_size=1, max_size=6, unique=True))
    entries = []
    for number, person in enumerate(people):
        label = draw(st.sampled_from(LABELS))
        entries.append(
            ManifestEntry(
                path=PurePosixPath(draw(words), f"{number}-{draw(words)}.mp4"),
                label=label,
                identity=person,
                split=draw(st.sampled_from(SPLITS)),
                generator=draw(texts) if label == "fake" else None,
                donor=draw(st.none() | texts),
                pair=draw(st.none() | words),
                licence=draw(st.none() | texts),
                dataset=draw(words),
            )
        )
    return Manifest(Path("/nowhere"), tuple(entries))


@given(manifests())
def test_a_manifest_survives_its_csv(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest) -> None:
    path = tmp_path_factory.mktemp("csv") / "manifest.csv"
    path.write_text(manifest.to_csv(), encoding="utf-8")

    assert Manifest.from_csv(path).entries == manifest.entries
    assert Manifest.from_csv(path).sha256 == manifest.sha256


HEAD = "file,split,label,generator,identity,width\n"


def read(tmp_path: Path, *lines: str, head: str = HEAD) -> Manifest:
    (tmp_path / "manifest.csv").write_text(head + "\n".join(lines) + "\n")
    return Manifest.from_csv(tmp_path / "manifest.csv")


def test_other_columns_are_ignored_and_the_folder_names_the_set(tmp_path: Path) -> None:
    (entry,) = read(tmp_path, "a.mp4,train,real,,ann,256").entries

    assert (entry.path, entry.generator, entry.pair, entry.dataset) == (
        PurePosixPath("a.mp4"),
        None,
        None,
        tmp_path.name,
    )


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a.mp4,train,real,,ann,1", "b.mp4,test,fake,g,ann,1"], r"more than one split: 'ann' \(test, train\)$"),
        (
            ["a.mp4,train,real,,ann,1", "b.mp4,test,real,,ann,1", "c.mp4,test,real,,bob,1", "d.mp4,train,real,,bob,1"],
            r"'ann' \(test, train\), 'bob' \(test, train\)",
        ),
        (["a.mp4,train,real,,ann,1", "a.mp4,train,real,,ann,1"], "a.mp4 is named twice"),
        (["a.mp4,train,real,,ann,1", ",train,real,,bob,1"], "line 3 of the manifest has no file"),
        (["a.mp4,train,genuine,,ann,1"], "line 2 of the manifest: the label must be one of real, fake"),
        (["a.mp4,dev,real,,ann,1"], "the split one of train, validation, test"),
    ],
)
def test_what_is_wrong_is_refused_with_what_and_where(tmp_path: Path, lines: list[str], told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        read(tmp_path, *lines)


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lacks the columns: split, label, identity"):
        read(tmp_path, "a.mp4", head="file\n")
    with pytest.raises(DatasetError, match="cannot be read"):
        Manifest.from_csv(tmp_path / "nothing.csv")
    with pytest.raises(DatasetError, match="cannot be read: field larger"):
        read(tmp_path, "x" * 200_000)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="cannot be read"):
        Manifest.from_csv(tmp_path / "binary.csv")


def test_a_manifest_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, "a.mp4,train,real,,ann,1", head="\ufeff" + HEAD).entries) == 1


def test_a_name_that_two_data_sets_use_may_stand_in_two_splits(tmp_path: Path) -> None:
    head = "file,split,label,identity,dataset\n"

    assert len(read(tmp_path, "a.mp4,train,real,001,one", "b.mp4,test,real,001,other", head=head).entries) == 2


def test_the_working_folder_names_the_set_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = read(tmp_path, "a.mp4,train,real,,ann,1")
    monkeypatch.chdir(tmp_path)

    assert Manifest.from_csv(Path("manifest.csv")).sha256 == elsewhere.sha256


def test_a_fake_whose_maker_is_not_named_has_an_unknown_one(tmp_path: Path) -> None:
    assert read(tmp_path, "a.mp4,train,fake,,ann,1").entries[0].generator == "unknown"


@pytest.mark.parametrize(("folder", "name"), [(".", "set/a.mp4"), ("other", "../set/a.mp4"), ("set", "a.mp4")])
def test_a_manifest_can_lie_anywhere(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / "set").mkdir()
    manifest = read(tmp_path / "set", "a.mp4,train,real,,ann,1")

    assert manifest.moved_to(tmp_path / folder).entries[0].path == PurePosixPath(name)
