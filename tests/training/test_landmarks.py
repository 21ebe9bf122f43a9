"""The landmark network and its quantised weights; the shard is drawn by the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from styleflow.training.landmarks import (
    MODEL,
    LandmarkNetwork,
    LandmarkWeightsError,
    dequantised,
    landmarks_of,
    load_landmark_network,
)

Entry = dict[str, Any]


def drawn_entries() -> list[Entry]:
    """The manifest's names and shapes as the published file has them, with scales of the test's own."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for block, outputs in enumerate((32, 64, 128, 256)):
        for convolution in range(4):
            name = f"dense{block}/conv{convolution}"
            if (block, convolution) == (0, 0):
                shapes[f"{name}/filters"] = (3, 3, inputs, outputs)
            else:
                shapes[f"{name}/depthwise_filter"] = (3, 3, inputs, 1)
                shapes[f"{name}/pointwise_filter"] = (1, 1, inputs, outputs)
            shapes[f"{name}/bias"] = (outputs,)
            inputs = outputs
    shapes |= {"fc/weights": (256, 136), "fc/bias": (136,)}
    rule = {"dtype": "uint8", "scale": 0.002, "min": -0.25}
    return [{"name": name, "shape": list(shape), "quantization": dict(rule)} for name, shape in shapes.items()]


def drawn_bytes(entries: list[Entry]) -> NDArray[np.uint8]:
    count = sum(int(np.prod(entry["shape"])) for entry in entries)
    return np.random.default_rng(7).integers(0, 256, count, dtype=np.uint8)


def write(folder: Path, entries: list[Entry], shard: NDArray[np.uint8]) -> Path:
    manifest = [{"weights": entries, "paths": [f"{MODEL}-shard1"]}]
    (folder / f"{MODEL}-weights_manifest.json").write_text(json.dumps(manifest))
    shard.tofile(folder / f"{MODEL}-shard1")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entries = drawn_entries()
    return write(tmp_path, entries, drawn_bytes(entries))


@given(st.floats(1e-4, 0.1), st.floats(-3, 3), st.integers(0, 2**31))
def test_quantised_values_come_back_within_half_a_step(scale: float, least: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(least, least + 255 * scale, (2, 3, 4)).astype(np.float32)
    stored = np.clip(np.rint((values - least) / scale), 0, 255).astype(np.uint8)
    entry = {"name": "a", "shape": [2, 3, 4], "quantization": {"dtype": "uint8", "scale": scale, "min": least}}
    read = dequantised(stored.ravel(), [entry])["a"].numpy()
    np.testing.assert_allclose(read, values, atol=scale / 2 + 1e-5)


def test_tensors_lie_one_after_the_other_in_the_shard() -> None:
    rule = {"dtype": "uint8", "scale": 1.0, "min": 0.0}
    entries = [{"name": n, "shape": s, "quantization": rule} for n, s in (("a", [2]), ("b", [1, 3]))]
    read = dequantised(np.arange(5, dtype=np.uint8), entries)
    assert read["a"].tolist() == [0, 1]
    assert read["b"].tolist() == [[2, 3, 4]]


def test_every_weight_finds_its_place_in_torch_order(folder: Path) -> None:
    entries = drawn_entries()
    read = dequantised(drawn_bytes(entries), entries)
    state = load_landmark_network(folder).state_dict()
    assert len(state) == len(entries)
    full, depthwise = read["dense0/conv0/filters"], read["dense2/conv1/depthwise_filter"]
    assert state["dense.0.conv.0.weight"][5, 2, 0, 1] == full[0, 1, 2, 5]
    assert state["dense.2.conv.1.depthwise.weight"][9, 0, 2, 1] == depthwise[2, 1, 9, 0]
    assert state["dense.3.conv.0.pointwise.weight"][200, 7, 0, 0] == read["dense3/conv0/pointwise_filter"][0, 0, 7, 200]
    assert torch.equal(state["fc.weight"], read["fc/weights"].t())
    assert torch.equal(state["dense.1.conv.3.pointwise.bias"], read["dense1/conv3/bias"])


def test_a_block_adds_up_its_convolutions_as_published() -> None:
    torch.manual_seed(3)
    block = LandmarkNetwork().dense[0]
    conv0, conv1, conv2, conv3 = (block.get_submodule(f"conv.{number}") for number in range(4))
    pictures = torch.randn(2, 3, 16, 16)
    out0 = functional.relu(conv0(pictures))
    out1 = conv1(out0)
    out2 = conv2(functional.relu(out0 + out1))
    out3 = conv3(functional.relu(out0 + out1 + out2))
    assert torch.allclose(block(pictures), functional.relu(out0 + out1 + out2 + out3), atol=1e-6)


def test_a_stride_of_two_pads_only_right_and_below() -> None:
    convolution = LandmarkNetwork().get_submodule("dense.0.conv.0")
    weight, bias = (convolution.get_parameter(name) for name in ("weight", "bias"))
    picture = torch.randn(1, 3, 8, 8)
    expected = functional.conv2d(functional.pad(picture, (0, 1, 0, 1)), weight, bias, stride=2)
    assert torch.allclose(convolution(picture), expected)


def test_points_are_in_pixels_of_the_wide_picture() -> None:
    network = LandmarkNetwork().eval()
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.copy_(torch.tensor([0.0, 0.5]).repeat(68))
    points = landmarks_of(network, np.zeros((2, 252, 252, 3), np.uint8))
    assert points.dtype == np.float32
    assert points.shape == (2, 68, 2)
    np.testing.assert_allclose(points, np.broadcast_to([30.0, 64 + 100], (2, 68, 2)), atol=1e-3)


def test_many_pictures_give_the_points_that_each_gives_alone(folder: Path) -> None:
    network = load_landmark_network(folder)
    pictures = np.random.default_rng(1).integers(0, 256, (66, 63, 63, 3), dtype=np.uint8)
    together = landmarks_of(network, pictures)
    alone = np.concatenate([landmarks_of(network, pictures[i : i + 1]) for i in (0, 63, 64, 65)])
    assert np.ptp(alone) > 0
    np.testing.assert_allclose(together[[0, 63, 64, 65]], alone, rtol=1e-4, atol=1e-2)


def test_no_pictures_give_no_points() -> None:
    assert landmarks_of(LandmarkNetwork(), np.zeros((0, 252, 252, 3), np.uint8)).shape == (0, 68, 2)


def test_a_loaded_network_keeps_no_gradients(folder: Path) -> None:
    network = load_landmark_network(folder)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def _shorten(entries: list[Entry], shard: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return shard[:-1]


def _lengthen(entries: list[Entry], shard: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.append(shard, np.uint8(0))


def _drop_the_last(entries: list[Entry], shard: NDArray[np.uint8]) -> NDArray[np.uint8]:
    entries.pop()
    return shard[:-136]


def _swap_a_shape(entries: list[Entry], shard: NDArray[np.uint8]) -> NDArray[np.uint8]:
    entries[-2]["shape"] = [136, 256]
    return shard


def _rename(entries: list[Entry], shard: NDArray[np.uint8]) -> NDArray[np.uint8]:
    entries[3]["name"] = "dense0/odd"
    return shard


def _other_kind(entries: list[Entry], shard: NDArray[np.uint8]) -> NDArray[np.uint8]:
    entries[0]["quantization"]["dtype"] = "uint16"
    return shard


def _without_rule(entries: list[Entry], shard: NDArray[np.uint8]) -> NDArray[np.uint8]:
    del entries[0]["quantization"]
    return shard


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_shorten, "ends inside fc/bias"),
        (_lengthen, "the manifest asks for"),
        (_drop_the_last, "fc.bias"),
        (_swap_a_shape, "fc.weight"),
        (_rename, "do not fit"),
        (_other_kind, "uint16"),
        (_without_rule, "cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, spoil: Callable[[list[Entry], NDArray[np.uint8]], NDArray[np.uint8]], says: str
) -> None:
    entries = drawn_entries()
    shard = spoil(entries, drawn_bytes(entries))
    with pytest.raises(LandmarkWeightsError, match=says):
        load_landmark_network(write(tmp_path, entries, shard))


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LandmarkWeightsError, match="cannot be read"):
        load_landmark_network(tmp_path)
