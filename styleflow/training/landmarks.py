"""68 points on a face, for the masks of pseudo-fakes: the landmark network of face-api.js (MIT).

Written from a description of "face_landmark_68_model" (face-api.js): four dense blocks of depthwise-separable
convolutions with TensorFlow's `same` padding, an average over what is left, one linear layer. Its weights are bytes
that a manifest scales back to floats; neither is part of this project. Only torch and numpy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from styleflow.errors import StyleFlowError

POINTS = 68
INPUT_PX = 112
MEAN_RGB = (122.782, 117.001, 104.298)
WIDTHS = (32, 64, 128, 256)
MODEL = "face_landmark_68_model"
CROP_LEFT, CROP_TOP, CROP_SIDE = 30 / 252, 64 / 252, 200 / 252
"""The square that the network sees, in parts of the wide picture's side; its foot hangs over the picture's edge.
Of 90 squares tried on 197 wide pictures this one agreed best with MTCNN's five points and with the other squares:
its points lie 0.05 eye distances from MTCNN's on average. A face far from the middle of the picture is missed."""
BATCH = 64


class LandmarkWeightsError(StyleFlowError):
    """The landmark network's weights are missing or do not fit it."""

    code: ClassVar[str] = "landmark_weights_unusable"


class LandmarkNetwork(nn.Module):
    """[N,3,112,112] float32 RGB in 0..255 -> [N,68,2], x and y in parts of the picture's side (0..1 inside it)."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.dense = nn.ModuleList(_DenseBlock(a, b, full=a == 3) for a, b in zip(inputs, WIDTHS, strict=True))
        self.fc = nn.Linear(WIDTHS[-1], 2 * POINTS)
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        seen: Tensor = (pictures - self.mean) / 255
        for block in self.dense:
            seen = block(seen)
        places: Tensor = self.fc(functional.avg_pool2d(seen, 7, 2).flatten(1))
        return places.view(-1, POINTS, 2)


class _DenseBlock(nn.Module):
    """Four convolutions, each fed with the rectified sum of all before it; the first halves the sides."""

    def __init__(self, inputs: int, outputs: int, *, full: bool) -> None:
        super().__init__()
        first = _SameConvolution(inputs, outputs, 2) if full else _Separable(inputs, outputs, 2)
        self.conv = nn.ModuleList([first, *(_Separable(outputs, outputs, 1) for _ in range(3))])

    def forward(self, pictures: Tensor) -> Tensor:
        first, *others = self.conv
        total: Tensor = functional.relu(first(pictures))
        fed = total
        for convolution in others:
            total = total + convolution(fed)
            fed = functional.relu(total)
        return fed


class _SameConvolution(nn.Conv2d):
    """3x3, padded as TensorFlow's `same` does: with stride 2 on an even side only right and below."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, stride, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        across, down = (_same_padding(side, self.stride[0]) for side in (input.shape[3], input.shape[2]))
        return super().forward(functional.pad(input, (*across, *down)))


class _Separable(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = _SameConvolution(inputs, inputs, stride, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        mixed: Tensor = self.pointwise(self.depthwise(pictures))
        return mixed


def load_landmark_network(folder: Path) -> LandmarkNetwork:
    """The network from `<MODEL>-shard1` and `<MODEL>-weights_manifest.json`, ready to use, without gradients.

    Raises LandmarkWeightsError where a file is missing, or names, shapes or the number of bytes do not fit.
    """
    try:
        manifest = json.loads((folder / f"{MODEL}-weights_manifest.json").read_text())
        entries = manifest[0]["weights"]
        shard = np.fromfile(folder / f"{MODEL}-shard1", dtype=np.uint8)
        found = dequantised(shard, entries)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise LandmarkWeightsError(f"the landmark network's files cannot be read: {error}") from error
    network = LandmarkNetwork()
    try:
        network.load_state_dict(_state(found))
    except RuntimeError as error:
        raise LandmarkWeightsError(f"the landmark network's weights do not fit it: {error}") from error
    return network.eval().requires_grad_(False)


def dequantised(shard: NDArray[np.uint8], entries: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    """float32 tensors by name, min + scale * byte; they lie in the shard one after the other.

    Raises LandmarkWeightsError unless the shard has exactly the bytes that the entries ask for.
    """
    tensors: dict[str, Tensor] = {}
    start = 0
    for entry in entries:
        rule = entry["quantization"]
        if rule["dtype"] != "uint8":
            raise LandmarkWeightsError(f"{entry['name']} is kept as {rule['dtype']}, expected uint8")
        end = start + math.prod(entry["shape"])
        if end > len(shard):
            raise LandmarkWeightsError(f"the shard ends inside {entry['name']}")
        values = shard[start:end].astype(np.float32) * np.float32(rule["scale"]) + np.float32(rule["min"])
        tensors[entry["name"]] = torch.from_numpy(values.reshape(entry["shape"]))
        start = end
    if start != len(shard):
        raise LandmarkWeightsError(f"the shard has {len(shard)} bytes, the manifest asks for {start}")
    return tensors


def landmarks_of(network: LandmarkNetwork, wide: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Points of the face in FTCN's place in the wide framing (training/geometry.py), on the network's device.

    (N, W, W, 3) RGB -> (N, 68, 2), x and y in pixels of the picture; 0 is the first pixel's outer edge.
    """
    side = wide.shape[2]
    left, top, size = (round(part * side) for part in (CROP_LEFT, CROP_TOP, CROP_SIDE))
    corner = np.array([left, top], dtype=np.float32)
    found = [np.zeros((0, POINTS, 2), dtype=np.float32)]
    with torch.inference_mode():
        for start in range(0, len(wide), BATCH):
            seen = _crop(wide[start : start + BATCH], left, top, size, network.mean.device)
            found.append(network(seen).cpu().numpy() * np.float32(size) + corner)
    return np.concatenate(found)


def _crop(wide: NDArray[np.uint8], left: int, top: int, size: int, device: torch.device) -> Tensor:
    pictures = torch.from_numpy(np.ascontiguousarray(wide)).to(device).permute(0, 3, 1, 2).float()
    below = max(0, top + size - pictures.shape[2])
    padded = functional.pad(pictures, (0, 0, 0, below), mode="replicate")
    cut = padded[:, :, top : top + size, left : left + size]
    return functional.interpolate(cut, (INPUT_PX, INPUT_PX), mode="bilinear", antialias=True)


def _state(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_parameter_name(name): _in_torch_order(name, value) for name, value in found.items()}


def _parameter_name(name: str) -> str:
    """`dense1/conv0/depthwise_filter` -> `dense.1.conv.0.depthwise.weight`."""
    block, *rest = name.split("/")
    if block == "fc":
        return f"fc.{'weight' if rest == ['weights'] else '.'.join(rest)}"
    convolution, last = rest if len(rest) == 2 else ("", name)
    full = (block, convolution) == ("dense0", "conv0")
    leaf = {
        "filters": "weight",
        "depthwise_filter": "depthwise.weight",
        "pointwise_filter": "pointwise.weight",
        "bias": "bias" if full else "pointwise.bias",
    }.get(last, last)
    return f"{block.replace('dense', 'dense.')}.{convolution.replace('conv', 'conv.')}.{leaf}"


def _in_torch_order(name: str, value: Tensor) -> Tensor:
    """TensorFlow keeps height, width, input, output (depthwise: height, width, channel, 1)."""
    if value.dim() == 4:
        order = (2, 3, 0, 1) if name.endswith("depthwise_filter") else (3, 2, 0, 1)
        return value.permute(order).contiguous()
    return value.t().contiguous() if value.dim() == 2 else value


def _same_padding(side: int, stride: int) -> tuple[int, int]:
    missing = max((-(-side // stride) - 1) * stride + 3 - side, 0)
    return missing // 2, missing - missing // 2
