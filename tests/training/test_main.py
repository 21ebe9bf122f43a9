"""What cannot be used is one sentence on standard error and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from styleflow.training.__main__ import main
from styleflow.training.geometry import Geometry
from styleflow.training.loop import CHECKPOINT
from styleflow.training.store import Store
from tests.training.drawn_store import write_drawn
from tests.training.tiny_recipe import TEXT, TINY_TRAINED

GEOMETRY = Geometry(TINY_TRAINED.content.input_size)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("lab")
    write_drawn(Store.create(home / "store", GEOMETRY, "drawn"))
    Store.create(home / "empty", GEOMETRY, "nothing")
    (home / "tiny.toml").write_text(TEXT)
    (home / "text").write_text("no safetensors")
    save_file({"conv00.weight": torch.zeros(3)}, home / "other.safetensors")
    return home


@pytest.fixture
def refusal(lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    return Refusal(lab, tmp_path / "out", capsys)


class Refusal:
    """Runs the door, expects a refusal, and gives its one sentence."""

    def __init__(self, lab: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.lab, self.out, self._capsys = lab, out, capsys

    def __call__(self, *options: object, store: str = "store") -> str:
        places = (self.lab / "tiny.toml", "--store", self.lab / store, "--device", "cpu")
        out = () if "--out" in options else ("--out", self.out)
        assert main([str(part) for part in (*places, *out, *options)]) == 2
        (line,) = self._capsys.readouterr().err.splitlines()
        return line


def test_a_step_whose_earlier_steps_are_not_finished(refusal: Refusal) -> None:
    assert refusal("--steps", "stage_two") == "configuration: the step encoder is not finished in out: run it first"


def test_a_step_that_left_a_damaged_file_or_one_of_another_network(refusal: Refusal) -> None:
    refusal.out.mkdir()
    left = refusal.out / "encoder.safetensors"

    left.write_text("no safetensors")
    assert "encoder.safetensors cannot be read as a file of safetensors" in refusal("--steps", "stage_one")
    save_file({"a": torch.zeros(3)}, left)
    assert "what the step encoder left does not fit the recipe's network" in refusal("--steps", "stage_one")


def test_an_empty_store(refusal: Refusal) -> None:
    assert "the store empty holds no clips" in refusal(store="empty")


@pytest.mark.parametrize("option", ["--starting-weights", "--starting-pack"])
@pytest.mark.parametrize(
    ("name", "told"),
    [("nothing", "nothing cannot be read"), ("text", "text cannot be read"), ("other.safetensors", "not fit")],
)
def test_starting_weights_that_are_missing_none_or_others(refusal: Refusal, option: str, name: str, told: str) -> None:
    assert told in refusal(option, refusal.lab / name)


def test_a_file_in_the_place_of_the_runs_folder(refusal: Refusal) -> None:
    assert "text cannot be the run's folder" in refusal("--out", refusal.lab / "text")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
def test_a_device_that_there_is_not(refusal: Refusal, name: str) -> None:
    assert f"nothing runs on the device {name!r}" in refusal("--device", name)


def test_a_checkpoint_that_was_cut_off(refusal: Refusal) -> None:
    options = ("--store", refusal.lab / "store", "--out", refusal.out, "--device", "cpu", "--steps", "frames")
    assert main([str(part) for part in (refusal.lab / "tiny.toml", *options, "--stop-after-seconds", 0)]) == 3
    checkpoint = refusal.out / "frames" / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])

    assert "checkpoint_unusable: frames/checkpoint.pt cannot be gone on from" in refusal("--steps", "frames")
