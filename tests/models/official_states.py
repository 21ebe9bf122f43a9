"""State dicts and files as the published trainers leave them, for networks of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleflow.models.detector import DetectorSizes, skeleton
from styleflow.models.published import STAGE_TWO, STYLE_ENCODER, STYLE_GRU, PublishedPart
from styleflow.models.style_gru import StyleGRUClassifier
from tests.models.named_values import GOLDEN_SEED, filled, shapes_of
from tests.models.small_networks import TINY

Shapes = dict[str, tuple[int, ...]]


def official_shapes(part: PublishedPart, sizes: DetectorSizes = TINY) -> Shapes:
    """Official names and shapes of what a published file of this part holds."""
    found = {
        part.published(name): tuple(tensor.shape)
        for name, tensor in skeleton(sizes).state_dict().items()
        if name.split(".")[0] in part.components
    }
    return found | (head_shapes(sizes) if part is STYLE_GRU else {})


def head_shapes(sizes: DetectorSizes) -> Shapes:
    """Of the head of stage 1."""
    with torch.device("meta"):
        network = StyleGRUClassifier(
            features=sizes.flow_features,
            hidden=sizes.style_gru.hidden,
            head_hidden=5,
            steps=sizes.flow_steps,
            layers=sizes.style_gru.layers,
        )
    return {name: shape for name, shape in shapes_of(network).items() if name.startswith("dense.")}


def official(part: PublishedPart, sizes: DetectorSizes = TINY, *, seed: int = GOLDEN_SEED) -> dict[str, Tensor]:
    """Filled by the golden rule, under the official names."""
    return filled(official_shapes(part, sizes), seed=seed)


def content_only(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A stage 2 without style attention."""
    return {name: value for name, value in state.items() if ".STA." not in name}


def write_checkpoints(folder: Path, sizes: DetectorSizes = TINY, *, seed: int = GOLDEN_SEED) -> dict[str, Path]:
    """The three files, each in its official wrapping: by the names of `checkpoints.Sources`' fields."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = {f"encoder.{name}": value for name, value in official(STYLE_ENCODER, sizes, seed=seed).items()}
    gru = {f"module.model.{name}": value for name, value in official(STYLE_GRU, sizes, seed=seed).items()}
    contents: dict[str, Any] = {
        "style_encoder": {
            "state_dict": encoder | {"decoder.style.1.weight": torch.zeros(2, 2)},
            "opts": {"device": "cuda:0", "learning_rate": 1e-4, "betas": (0.9, 0.99)},
            "latent_avg": torch.zeros(6, 6),
        },
        "style_gru": {"epoch": 12, "state_dict": gru},
        "stage_two": {
            "model": {f"module.{name}": value for name, value in official(STAGE_TWO, sizes, seed=seed).items()}
        },
    }
    paths = {name: folder / f"{name}.pt" for name in contents}
    for name, path in paths.items():
        torch.save(contents[name], path)
    return paths
