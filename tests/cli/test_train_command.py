"""The whole lab over its command line, on drawn videos: prepare, train, pack, measure, calibrate, serve."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from styleflow.cli.train import app
from styleflow.datasets.manifest import Manifest
from styleflow.detection.analyze import analyze
from styleflow.detection.engine import Detector
from styleflow.packs import Catalog
from styleflow.report import Outcome
from styleflow.training.prepare_set import key_of
from styleflow.training.store import INDEX
from tests.media import canvas, face_picture, paste, write_video
from tests.training.test_landmarks import drawn_bytes, drawn_entries, write
from tests.training.tiny_recipe import TEXT

FACES = ("anitalker-aiface3.mp4", "anitalker-aiface4.mp4")
PEOPLE = 6


def styleflow(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "styleflow.cli.main", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def draw_set(folder: Path) -> None:
    """People are one of two faces on a ground of their own; every fake is its real video with a green cast."""
    lines = ["file,split,label,generator,identity,pair"]
    for number in range(PEOPLE):
        split = "train" if number < PEOPLE - 2 else "validation"
        for label in ("real", "fake"):
            name = f"{label}-{number}.mp4"
            pictures = []
            for frame in range(40):
                ground = canvas(320, 240, (40 * number, 90, 120))
                picture = paste(ground, face_picture(FACES[number % 2]), 60 + frame % 20, 20, 200)
                if label == "fake":
                    picture = picture.copy()
                    picture[..., 1] = 255 - (255 - picture[..., 1]) // 2
                pictures.append(picture)
            write_video(folder / name, iter(pictures), rate=25)
            made = ("drawn", f"real-{number}.mp4") if label == "fake" else ("", "")
            lines.append(f"{name},{split},{label},{made[0]},person-{number},{made[1]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("lab")
    for name in ("videos", "landmarks", "packs"):
        (home / name).mkdir()
    draw_set(home / "videos")
    entries = drawn_entries()
    write(home / "landmarks", entries, drawn_bytes(entries))
    (home / "tiny.toml").write_text(TEXT)
    return home


def prepared(lab: Path) -> str:
    return styleflow(
        "train", "prepare", lab / "videos" / "manifest.csv", "--store", lab / "store", "--landmark-weights",
        lab / "landmarks", "--clips", 1, "--workers", 1, "--recipe", lab / "tiny.toml",
    )  # fmt: skip


def test_from_videos_to_a_served_pack(lab: Path) -> None:
    manifest, packs, run = lab / "videos" / "manifest.csv", lab / "packs", lab / "run"

    assert "8 of 8 sources are in the store" in prepared(lab)
    training = ("train", "run", lab / "tiny.toml", "--store", lab / "store", "--out", run, "--device", "cpu")
    styleflow(*training, "--stop-after-seconds", 0, code=3)
    styleflow(*training)
    styleflow(
        "train", "pack", lab / "tiny.toml", "--out", run, "--packs-directory", packs, "--name", "tiny",
        "--version", "raw", "--statement", "drawn faces",
    )  # fmt: skip
    held = styleflow(
        "train", "held-back", manifest, lab / "tiny.toml", "--store", lab / "store", "--out", lab / "held.csv"
    )
    assert "of 2 people are held back" in held
    assert {entry.split for entry in Manifest.from_csv(lab / "held.csv").entries} == {"train"}

    styleflow(
        "train", "prepare", manifest, "--store", lab / "others", "--landmark-weights", lab / "landmarks",
        "--clips", 1, "--workers", 1, "--recipe", lab / "tiny.toml", "--split", "validation",
    )  # fmt: skip
    judged = styleflow(
        "train", "judge", manifest, lab / "tiny.toml", "--store", lab / "others", "--out", run, "--by", "content",
        "--predictions", lab / "content.jsonl",
    )  # fmt: skip
    assert "4 of 4 videos were judged" in judged

    styleflow(
        "evaluate", manifest, "--beside", f"content alone={lab / 'content.jsonl'}",
        "--split", "validation", "--model", "tiny@raw", "--packs-directory",
        packs, "--out", lab / "measured", "--resamples", 20, "--device", "cpu", "--skip-bad",
    )  # fmt: skip
    report = json.loads((lab / "measured" / "evaluation.json").read_text())
    pack = Catalog(packs).resolve("tiny@raw")
    assert pack.card.weights.sha256 in json.dumps(report)
    beside = report["tables"]["overall"]["rows"][1]
    assert (beside["detector"], beside["real"], beside["fake"]) == ("content alone", 2, 2)
    assert (pack.card.calibration, pack.card.training.trained) == (None, True)

    proposal = {
        "calibration": {
            "method": "platt",
            "slope": 1.0,
            "intercept": 0.0,
            "thresholds": {"policy": "drawn", "weak": 0.5, "suspicious": 0.6, "strong": 0.7},
            "measured_on": "drawn faces",
        },
        "abstain": None,
    }
    (lab / "calibration.json").write_text(json.dumps(proposal))
    styleflow(
        "train", "calibrate", "tiny@raw", "--calibration", lab / "calibration.json", "--packs-directory", packs,
        "--version", "1", "--default",
    )  # fmt: skip
    served = analyze(lab / "videos" / "real-0.mp4", Detector.load(Catalog(packs).resolve("styleflow@default")))
    assert served.outcome is Outcome.SCORED
    assert served.pipeline.model == "tiny@1"


def test_what_is_wrong_is_one_sentence_and_exit_code_2(lab: Path, tmp_path: Path) -> None:
    for arguments in (
        ("run", tmp_path / "nothing.toml", "--store", tmp_path, "--out", tmp_path / "o"),
        ("run", lab / "tiny.toml", "--store", tmp_path, "--out", tmp_path / "o"),
        ("pack", lab / "tiny.toml", "--out", tmp_path, "--packs-directory", tmp_path, "--name", "a", "--version", "1",
         "--statement", "none"),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "styleflow.cli.main", "train", *map(str, arguments)], capture_output=True, text=True
        )
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def refusal(*arguments: object) -> str:
    """The last line on standard error of a command that exits with 2 by intention; a bar may stand before it."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 2, (done.exit_code, done.output, done.exception)
    assert isinstance(done.exception, SystemExit)
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def landmarks(tmp_path: Path) -> Path:
    folder, entries = tmp_path / "landmarks", drawn_entries()
    folder.mkdir()
    write(folder, entries, drawn_bytes(entries))
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """One video, which is none."""
    (tmp_path / "a.mp4").write_text("no video")
    path = tmp_path / "manifest.csv"
    path.write_text("file,split,label,identity\na.mp4,train,real,ann\n")
    return path


def test_a_split_that_there_is_not_cannot_be_prepared(manifest: Path, landmarks: Path, tmp_path: Path) -> None:
    told = refusal(
        "prepare", manifest, "--store", tmp_path / "store", "--landmark-weights", landmarks, "--split", "trian"
    )

    assert told == "configuration: there is no split trian; known are train, validation, test"


def test_a_preparation_that_leaves_nothing_exits_with_2(manifest: Path, landmarks: Path, tmp_path: Path) -> None:
    places = ("--store", tmp_path / "store", "--landmark-weights", landmarks, "--workers", 1)

    assert "none of the sources" in refusal("prepare", manifest, *places)
    assert "none of the sources" in refusal("prepare", manifest, *places, "--split", "test")


def test_landmark_weights_that_are_missing_or_wrong_are_told(manifest: Path, landmarks: Path, tmp_path: Path) -> None:
    def told() -> str:
        return refusal("prepare", manifest, "--store", tmp_path / "store", "--landmark-weights", landmarks)

    (shard,) = landmarks.glob("*-shard1")
    shard.write_bytes(shard.read_bytes()[:1000])
    assert told().startswith("landmark_weights_unusable: the shard ends inside")
    shard.unlink()
    assert told().startswith("landmark_weights_unusable: the landmark network's files cannot be read")


def test_files_and_folders_that_are_missing_are_told(manifest: Path, landmarks: Path, tmp_path: Path) -> None:
    weights = ("--landmark-weights", landmarks)
    nowhere = tmp_path / "nowhere"

    assert "Not a directory" in refusal("prepare", manifest, "--store", manifest, *weights)
    assert "nowhere: No such file" in refusal(
        "prepare", manifest, "--store", tmp_path / "s", *weights, "--photos", nowhere
    )
    (tmp_path / "a.mp4").unlink()
    assert "a.mp4: No such file" in refusal("prepare", manifest, "--store", tmp_path / "s", *weights)


def test_a_store_is_not_prepared_further_with_another_number_of_clips(
    manifest: Path, landmarks: Path, tmp_path: Path
) -> None:
    places = ("--store", tmp_path / "store", "--landmark-weights", landmarks, "--split", "test")
    refusal("prepare", manifest, *places)

    told = refusal("prepare", manifest, *places, "--clips", 8)

    assert told == "store_unusable: the store was prepared with clips_per_video 4, not 8: give that, or another store"


def test_the_store_reads_what_the_latest_manifest_lists(manifest: Path, landmarks: Path, tmp_path: Path) -> None:
    places = ("--store", tmp_path / "store", "--landmark-weights", landmarks, "--split", "test")

    refusal("prepare", manifest, *places)

    index = json.loads((tmp_path / "store" / INDEX).read_text())
    assert index["listed"] == {key_of("a.mp4"): ["train", "ann"]}
    assert index["made_with"] == {"clips_per_video": 4, "frame_step": 1}
