"""Parameters drawn from their own published names: the rule by which the golden files were made.

Two programs that apply it to the same network must get the same output, so any difference is one of architecture.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_SEED = 7


def drawn(name: str, shape: tuple[int, ...], *, spread: float = 1.0, seed: int = GOLDEN_SEED) -> Tensor:
    """Normal values, float32, that depend on name, shape and seed only."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed}:{name}".encode())))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32) * np.float32(spread))


def filled(shapes: Mapping[str, tuple[int, ...]], *, seed: int = GOLDEN_SEED) -> dict[str, Tensor]:
    """A state dict by the rule, from names and shapes."""
    return {name: _value(name, shape, seed) for name, shape in shapes.items()}


def _value(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name.endswith("running_var"):
        return 0.5 + 0.5 * drawn(name, shape, seed=seed).abs()
    if name.endswith("running_mean"):
        return drawn(name, shape, spread=0.1, seed=seed)
    if name.endswith("bias") or ".bias_" in name:
        return drawn(name, shape, spread=0.05, seed=seed)
    if len(shape) == 1:
        return 1.0 + drawn(name, shape, spread=0.1, seed=seed)
    return drawn(name, shape, spread=1 / math.sqrt(max(1, math.prod(shape[1:]))), seed=seed)


def shapes_of(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype == np.float32}


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest expected value."""
    return float((found - expected).abs().max() / expected.abs().max())
