from __future__ import annotations

import argparse
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleflow.errors import PackError
from styleflow.models.checkpoint_file import read_checkpoint
from styleflow.packs import sha256_of


class Payload:
    """Runs a command as soon as it is unpickled the ordinary way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def saved(path: Path, content: object, *, old: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "bn.num_batches_tracked": torch.tensor(4)}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_tensors_come_out_by_name_from_every_wrapping_and_format(tmp_path: Path, key: str | None, old: bool) -> None:
    content = (
        OrderedDict(STATE) if key is None else {key: STATE, "epoch": 3, "opts": {"lr": 0.1, "sizes": [1, (2, None)]}}
    )
    path = saved(tmp_path / "net.pth", content, old=old)

    checkpoint = read_checkpoint(path)

    assert checkpoint.name == "net.pth"
    assert checkpoint.sha256 == sha256_of(path)
    assert checkpoint.state.keys() == STATE.keys()
    assert all(torch.equal(checkpoint.state[name], STATE[name]) for name in STATE)
    assert checkpoint.beside == (() if key is None else ("epoch", "opts"))


@pytest.mark.parametrize("form", ["zip", "old", "bare pickle"])
def test_a_pickle_that_would_run_a_program_is_refused_and_runs_nothing(tmp_path: Path, form: str) -> None:
    mark, path = tmp_path / "executed", tmp_path / "evil.pt"
    content = {"state_dict": STATE, "opts": Payload(mark)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps({"opts": Payload(mark)}, protocol=2))
    else:
        saved(path, content, old=form == "old")

    with pytest.raises(PackError, match=r"^evil\.pt holds more than tensors and plain values .*(posix|os)\.system"):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_pickle_of_a_newer_protocol_is_refused_without_a_word_of_the_readers_own(tmp_path: Path) -> None:
    mark, path = tmp_path / "executed", tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"opts": Payload(mark)}, protocol=pickle.HIGHEST_PROTOCOL))

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(PackError, match="not a readable checkpoint"):
            read_checkpoint(path)

    assert heard == []
    assert not mark.exists()


def test_the_payload_of_these_tests_does_run_when_read_the_ordinary_way(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = saved(tmp_path / "evil.pt", {"opts": Payload(mark)})

    torch.load(path, weights_only=False)

    assert mark.exists()


@pytest.mark.parametrize("thing", [argparse.Namespace(lr=1), torch.nn.Linear(1, 1), torch.float32, torch.device("cpu")])
def test_anything_but_tensors_and_plain_values_is_refused(tmp_path: Path, thing: object) -> None:
    path = saved(tmp_path / "odd.pt", {"state_dict": STATE, "opts": thing})

    with pytest.raises(PackError, match=r"^odd\.pt holds more than tensors and plain values"):
        read_checkpoint(path)


def test_the_environment_cannot_switch_the_safe_reader_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "executed"

    with pytest.raises(PackError):
        read_checkpoint(saved(tmp_path / "evil.pt", {"opts": Payload(mark)}))
    assert not mark.exists()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), old=st.booleans())
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, share: float, old: bool) -> None:
    path = saved(tmp_path / "cut.pt", {"state_dict": STATE}, old=old)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    # cut in the middle of a name, the file asks for something that no checkpoint holds
    with pytest.raises(PackError, match=r"^cut\.pt (is not a readable checkpoint|holds more than tensors)"):
        read_checkpoint(path)


def test_one_altered_byte_among_the_values_is_refused_with_the_part_it_lies_in(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt", {"state_dict": STATE})
    content = path.read_bytes()
    values = STATE["conv.weight"].numpy().tobytes()
    place = content.index(values)
    path.write_bytes(content[: place + 5] + bytes([content[place + 5] ^ 1]) + content[place + 6 :])

    with pytest.raises(PackError, match=r"^net\.pt is damaged: the checksum of .*data/0 does not match\.$"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state dict"),
        ({}, "holds no state dict"),
        ({"state_dict": {"a": 1, "b": torch.zeros(1)}}, "a is no tensor"),
        ({"weights": {"a": torch.zeros(1)}}, "weights is no tensor"),
        ({"a": torch.tensor([1.0, float("nan")])}, "a holds values that are not finite"),
        ({"a": torch.zeros(2, device="meta")}, "a is no plain dense tensor"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "a is no plain dense tensor"),
        ({"a": torch.eye(2).to_sparse()}, "a is no plain dense tensor"),
    ],
)
def test_content_that_is_no_state_dict_of_numbers_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(PackError, match=rf"^x\.pt.*{message}"):
        read_checkpoint(saved(tmp_path / "x.pt", content))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 and nothing else"])
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)

    with pytest.raises(PackError, match=r"^x\.pt is not a readable checkpoint"):
        read_checkpoint(path)


def test_a_file_that_is_not_there_is_refused_by_its_name_alone(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"^gone\.pt cannot be read: No such file or directory\.$"):
        read_checkpoint(tmp_path / "gone.pt")


def test_a_value_that_contains_itself_does_not_hang_the_reader(tmp_path: Path) -> None:
    loop: list[object] = [1]
    loop.append(loop)

    assert read_checkpoint(saved(tmp_path / "x.pt", {"state_dict": STATE, "opts": loop})).beside == ("opts",)


def zipped_again(source: Path, target: Path, *, deflated: bool = False, shorten: int = 0) -> Path:
    """The same archive written anew by another program, its records deflated or the largest one cut short; every
    checksum is right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        largest = max(old.infolist(), key=lambda entry: entry.file_size * ("/data/" in entry.filename)).filename
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == largest:
                content = content[: len(content) - shorten]
            form = zipfile.ZIP_DEFLATED if deflated and "/data/" in entry.filename else zipfile.ZIP_STORED
            new.writestr(entry.filename, content, compress_type=form)
    return target


@pytest.mark.parametrize("deflated", [False, True])
def test_an_archive_that_was_written_anew_gives_the_same_values(tmp_path: Path, deflated: bool) -> None:
    state = {"a": torch.arange(400.0), "b": torch.ones(300)}
    path = zipped_again(saved(tmp_path / "a.pt", state), tmp_path / "b.pt", deflated=deflated)

    found = read_checkpoint(path).state

    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_record_shorter_than_its_tensor_is_refused(tmp_path: Path) -> None:
    state = {"a": torch.arange(400.0), "b": torch.ones(300)}
    path = zipped_again(saved(tmp_path / "a.pt", state), tmp_path / "b.pt", shorten=400)

    with pytest.raises(PackError, match=r"b\.pt is not a readable checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "tensor",
    [torch._neg_view(torch.ones(4)), torch.zeros(1).as_strided((1 << 42,), (0,))],
    ids=["negated", "of few values"],
)
def test_a_tensor_that_is_not_what_it_stores_is_refused(tmp_path: Path, tensor: Tensor) -> None:
    torch.save({"weight": tensor}, tmp_path / "view.pt")

    with pytest.raises(PackError, match=r"view\.pt: weight is a view of other values than it stores"):
        read_checkpoint(tmp_path / "view.pt")


def test_a_trainers_options_are_kept(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(1)}, "opts": {"encoder_type": "E"}}, tmp_path / "with.pt")
    torch.save({"weight": torch.ones(1)}, tmp_path / "bare.pt")

    assert read_checkpoint(tmp_path / "with.pt").options == {"encoder_type": "E"}
    assert read_checkpoint(tmp_path / "bare.pt").options == {}
