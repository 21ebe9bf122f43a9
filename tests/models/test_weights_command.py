from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from styleflow.cli.weights import app
from styleflow.models.sizes import SMALL
from styleflow.models.weights import write_random_pack
from styleflow.packs import Catalog, read_pack, write_card
from tests.models.official_states import content_only, official, write_checkpoints
from tests.models.small_networks import TINY


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_init_makes_a_compact_pack_once_and_list_and_show_find_it(tmp_path: Path) -> None:
    first = invoked("init", "--directory", str(tmp_path))
    again = invoked("init", "--directory", str(tmp_path))

    assert first.exit_code == 0
    assert again.output == first.output
    assert Catalog(tmp_path).resolve("styleflow@default").card.size == "compact"
    assert "styleflow-compact@random-0 (default)" in invoked("list", "--directory", str(tmp_path)).output
    shown = json.loads(invoked("show", "--directory", str(tmp_path)).output)
    assert shown["training"]["statement"] == "random weights: not trained"


def test_init_takes_the_folder_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLOW_PACKS_DIRECTORY", str(tmp_path))

    assert invoked("init", "--seed", "5").exit_code == 0
    assert [card.model for card in Catalog(tmp_path).cards] == ["styleflow-compact@random-5"]


def test_show_of_an_altered_or_unknown_pack_exits_with_the_errors_code(tmp_path: Path) -> None:
    invoked("init", "--directory", str(tmp_path))
    weights = next(tmp_path.glob("*/*.safetensors"))
    weights.write_bytes(weights.read_bytes() + b"x")

    altered = invoked("show", "--directory", str(tmp_path))
    unknown = invoked("show", "paper@1", "--directory", str(tmp_path))

    assert (altered.exit_code, unknown.exit_code) == (2, 2)
    assert "model_unavailable: The pack styleflow-compact-random-0 was altered" in altered.output
    assert "unknown_model: There is no model 'paper@1'" in unknown.output


def test_an_unknown_size_is_refused(tmp_path: Path) -> None:
    assert invoked("init", "--directory", str(tmp_path), "--size", "huge").exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"), SMALL, seed=1)


def asked(packs: Path, files: dict[str, Path], *more: str) -> Result:
    named = [word for name, path in files.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    return invoked("import", "--directory", str(packs), "--size", "small", *named, *more)


def test_import_makes_a_pack_that_verify_finds_good(tmp_path: Path, files: dict[str, Path]) -> None:
    done = asked(tmp_path, files, "--version", "1", "--licence", "theirs")

    assert done.exit_code == 0
    assert "The StyleGRU reads the level total." in done.output
    assert [row for row in ("pSp encoder", "StyleGRU", "stage 2") if row not in done.output] == []
    assert Catalog(tmp_path).resolve("styleflow-small@1").card.licences == ("theirs",)
    verified = invoked("verify", "--directory", str(tmp_path), "--json")
    assert verified.exit_code == 0
    (row,) = json.loads(verified.output)["packs"]
    assert row["logit"] == pytest.approx(row["recorded"], rel=1e-5)
    assert row["error"] is None


def test_a_size_without_a_published_layout_is_refused_and_those_with_one_are_named(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    done = asked(tmp_path, files, "--size", "compact")

    assert done.exit_code == 2
    assert "No checkpoints are published for the size compact" in done.output
    assert "The sizes with a published layout are small and paper." in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


def test_a_refused_import_exits_with_2_and_lists_every_difference(tmp_path: Path, files: dict[str, Path]) -> None:
    content: dict[str, Any] = torch.load(files["stage_two"], weights_only=True)
    gone = [name for name in content["model"] if ".s4." in name and "num_batches" not in name]
    torch.save({name: content["model"][name] for name in content["model"] if name not in gone}, tmp_path / "cut.pt")

    told = asked(tmp_path / "packs", files | {"stage_two": tmp_path / "cut.pt"})
    machine = asked(tmp_path / "packs", files | {"stage_two": tmp_path / "cut.pt"}, "--json")

    assert (told.exit_code, machine.exit_code) == (2, 2)
    assert len(gone) > 8
    assert [name for name in gone if f"{name.removeprefix('module.')} is missing" not in told.output] == []
    assert len(json.loads(machine.output)["differences"]) == len(gone)
    assert json.loads(machine.output)["parts"][2]["missing"][0].startswith("resnet.s4.")
    assert not list((tmp_path / "packs").glob("*/card.json"))


def test_a_file_that_would_run_a_program_is_refused_by_the_command_too(tmp_path: Path, files: dict[str, Path]) -> None:
    evil = tmp_path / "evil.pt"
    evil.write_bytes(b"cposix\nsystem\n(S'touch %b'\ntR." % str(tmp_path / "executed").encode())

    done = asked(tmp_path / "packs", files | {"stage_two": evil})

    assert done.exit_code == 2
    assert "model_unavailable: evil.pt holds more than tensors" in done.output
    assert not (tmp_path / "executed").exists()


def test_a_content_only_import_says_so_and_shows_as_such(tmp_path: Path) -> None:
    from styleflow.models.published import STAGE_TWO

    torch.save(content_only(official(STAGE_TWO, SMALL)), tmp_path / "ftcn.pth")

    done = asked(tmp_path / "packs", {"stage_two": tmp_path / "ftcn.pth"}, "--version", "1")

    assert done.exit_code == 0
    assert "content_only" in done.output
    assert json.loads(invoked("show", "--directory", str(tmp_path / "packs")).output)["components"] == [
        "content",
        "temporal_transformer",
    ]
    assert "content only" in invoked("list", "--directory", str(tmp_path / "packs")).output


def test_verify_exits_with_2_for_an_altered_byte_and_for_an_altered_card(tmp_path: Path) -> None:
    for seed in ("1", "2", "3"):
        assert invoked("init", "--directory", str(tmp_path), "--seed", seed).exit_code == 0
    sound, flipped, tampered = (read_pack(tmp_path / f"styleflow-compact-random-{seed}") for seed in (1, 2, 3))
    content = bytearray(flipped.weights_path.read_bytes())
    content[-1] ^= 1
    flipped.weights_path.write_bytes(content)
    assert tampered.card.golden is not None
    golden = tampered.card.golden.model_copy(update={"logit": tampered.card.golden.logit + 0.1})
    write_card(tampered.card.model_copy(update={"golden": golden}), tampered.directory)

    every = invoked("verify", "--directory", str(tmp_path), "--json")
    alone = invoked("verify", sound.card.model, "--directory", str(tmp_path))

    assert (every.exit_code, alone.exit_code) == (2, 0)
    good, altered, wrong = (row["error"] for row in json.loads(every.output)["packs"])
    assert good is None
    assert "was altered: the SHA-256 of model.safetensors" in altered
    assert "does not give the golden clip's logit" in wrong


@pytest.fixture
def beside_a_bad_one(tmp_path: Path) -> Path:
    """A folder with a sound pack and one whose card has a word in place of a size."""
    pack = write_random_pack(tmp_path, SMALL, seed=1)
    bad = tmp_path / "bad-1"
    shutil.copytree(pack.directory, bad)
    card = json.loads((bad / "card.json").read_text())
    card["preprocessing"]["style_size"] = "wide"
    (bad / "card.json").write_text(json.dumps(card))
    return tmp_path


BAD_CARD = "model_unavailable: The card of the pack bad-1 is wrong at preprocessing.style_size"


def test_list_shows_the_good_packs_beside_a_bad_one_which_it_names(beside_a_bad_one: Path) -> None:
    listed = invoked("list", "--directory", str(beside_a_bad_one))

    assert listed.exit_code == 2
    assert "styleflow-small@random-1" in listed.stdout
    assert BAD_CARD in listed.stderr


def test_verify_judges_the_good_packs_beside_a_bad_one_which_it_names(beside_a_bad_one: Path) -> None:
    told = invoked("verify", "--directory", str(beside_a_bad_one))
    machine = invoked("verify", "--directory", str(beside_a_bad_one), "--json")

    assert (told.exit_code, machine.exit_code) == (2, 2)
    assert "styleflow-small@random-1" in told.stdout
    assert "good" in told.stdout
    assert BAD_CARD in told.stderr
    answer = json.loads(machine.stdout)
    assert [(row["model"], row["error"]) for row in answer["packs"]] == [("styleflow-small@random-1", None)]
    (problem,) = answer["problems"]
    assert "bad-1" in problem


def test_verify_of_a_pack_that_cannot_be_read_says_why(beside_a_bad_one: Path) -> None:
    told = invoked("verify", "bad@1", "--directory", str(beside_a_bad_one))

    assert told.exit_code == 2
    assert "unknown_model: There is no model 'bad@1'" in told.stderr
    assert BAD_CARD in told.stderr


def test_verify_refuses_clips_of_a_length_that_a_worker_refuses(tmp_path: Path) -> None:
    write_random_pack(tmp_path, TINY, seed=1)

    told = invoked("verify", "--directory", str(tmp_path), "--json")

    assert told.exit_code == 2
    (row,) = json.loads(told.stdout)["packs"]
    assert row["error"] == "The pack styleflow-custom@random-1 reads clips of another length than 32 frames: 8."


def test_a_directory_that_is_a_file_is_refused_in_one_sentence(tmp_path: Path, files: dict[str, Path]) -> None:
    taken = tmp_path / "packs"
    taken.write_text("")

    for done in (asked(taken, files), asked(taken / "below", files), invoked("init", "--directory", str(taken))):
        assert done.exit_code == 2
        assert isinstance(done.exception, SystemExit), "no traceback"
        assert "model_unavailable: No pack can be made in " in done.stderr


@pytest.mark.parametrize("device", ["meta", "hpu", "fpga", "a typewriter"])
def test_verify_refuses_a_device_that_computes_nothing(tmp_path: Path, device: str) -> None:
    write_random_pack(tmp_path, TINY, seed=1)

    done = invoked("verify", "--directory", str(tmp_path), "--device", device)

    assert done.exit_code == 2
    assert f"configuration: this machine has no device '{device}'" in done.stderr


def test_verify_refuses_a_device_that_is_not_there_and_a_folder_without_packs(tmp_path: Path) -> None:
    nowhere = invoked("verify", "--directory", str(tmp_path), "--device", "cuda:99")
    nothing = invoked("verify", "--directory", str(tmp_path))

    assert (nowhere.exit_code, nothing.exit_code) == (2, 2)
    assert "no device 'cuda:99'" in nowhere.output
    assert "There is no pack to verify." in nothing.output


def test_install_says_when_the_packs_that_come_with_it_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleflow.pack_copies.SHIPPED", tmp_path / "nothing")

    done = invoked("install", "--directory", str(tmp_path / "packs"))

    assert done.exit_code == 2
    assert "this installation is not whole" in done.stderr
