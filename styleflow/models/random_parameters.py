"""Parameters without training, drawn so that a signal keeps its size on its way through the network."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from styleflow.models.detector import DetectorSizes, skeleton
from styleflow.models.mobile_content import LAYERS

RESIDUAL_ENDS = ("branch2.c_bn.weight", "res_layer.4.weight")
TURNED_DOWN = 0.25
MOBILE_ENDS = {f"content.trunk.{layer.name}.weight": layer.closes_residual for layer in LAYERS if not layer.rectified}
"""The last convolutions of the blocks of a mobile trunk, which nothing rectifies: whether each ends a residual."""


def random_parameters(sizes: DetectorSizes, seed: int) -> dict[str, Tensor]:
    """A whole state dict on the CPU, float32. Each tensor depends on the seed and its own name only.

    The style attention's projection, which training begins at zero, is drawn like the others: the style branch of
    a random pack takes part in the logit.
    """
    state = skeleton(sizes).state_dict()
    return {name: _drawn(name, tuple(tensor.shape), seed) for name, tensor in state.items()}


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith(("running_mean", "bias")) or ".bias_" in name:
        return torch.zeros(shape)
    if len(shape) == 1:
        # A residual branch's last norm is turned down, else every block doubles the signal's power.
        return torch.full(shape, TURNED_DOWN if name.endswith(RESIDUAL_ENDS) else 1.0)
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    values = generator.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(values).mul_(_spread(name, shape))


def _spread(name: str, shape: tuple[int, ...]) -> float:
    """Standard deviation that keeps a signal's size through the layer."""
    if name.endswith(("linear.weight", "hidden_state", "cls_token", "pos_embedding")):
        return 1.0  # EqualLinear scales when used; the others are signals themselves
    inputs = float(np.prod(shape[1:]))
    if name in MOBILE_ENDS:
        return (TURNED_DOWN if MOBILE_ENDS[name] else 1.0) / float(np.sqrt(inputs))
    rectified = len(shape) > 2
    return float(np.sqrt((2.0 if rectified else 1.0) / inputs))
