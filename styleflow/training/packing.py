"""What a run learnt becomes a pack, and a pack that was measured becomes a calibrated one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor

from styleflow.components import COMPONENTS
from styleflow.errors import PackError
from styleflow.models.sizes import size_name
from styleflow.models.weights import preprocessing_of, write_pack
from styleflow.pack_copies import copy_pack
from styleflow.packs import (
    Calibration,
    Pack,
    PackCard,
    Source,
    Training,
    WeightsFile,
    read_pack,
)
from styleflow.training.parameters import read_parameters
from styleflow.training.recipe import Recipe
from styleflow.training.run import NETWORK, sizes_of
from styleflow.training.run_record import refuse_another_recipe


@dataclass(frozen=True, kw_only=True)
class PackWish:
    """What the card says that the run does not know."""

    name: str
    version: str
    statement: str
    """What was trained, on what, how; the domain in which it was measured."""
    domain: str | None = None
    """What reports must say of where it was measured; see `PackCard.domain`."""
    default: bool = False
    sources: tuple[Source, ...] = ()
    """Starting weights, data."""
    licences: tuple[str, ...] = ("MIT",)
    float16: bool = False
    """Whether matrices and kernels are kept in 16 bits; biases and norms stay in 32. Measure the pack, not the run."""


def write_trained_pack(packs: Path, out: Path, recipe: Recipe, wish: PackWish) -> Pack:
    """The finished run in `out` as a pack without calibration: its jobs end inconclusive until it is measured.

    Raises PackError where the run is not finished, or a pack of that name and version is there, and ConfigurationError
    where another recipe was run there.
    """
    refuse_another_recipe(out, recipe)
    network = out / NETWORK
    if not network.exists():
        raise PackError("The run is not finished: there is no network to pack.")
    sizes = sizes_of(recipe)

    def describe(weights: WeightsFile) -> PackCard:
        return PackCard(
            name=wish.name,
            version=wish.version,
            default=wish.default,
            size=size_name(sizes),
            sizes=sizes.to_json(),
            components=COMPONENTS,
            weights=weights,
            preprocessing=preprocessing_of(sizes),
            calibration=None,
            domain=wish.domain,
            training=Training(trained=True, statement=wish.statement, seed=recipe.seed),
            sources=wish.sources,
            licences=wish.licences,
            created=datetime.now(UTC).replace(microsecond=0),
        )

    _refuse_existing(packs, f"{wish.name}-{wish.version}")
    state = read_parameters(network)
    return read_pack(write_pack(packs, _halved(state) if wish.float16 else state, describe))


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.half() if value.dim() > 1 else value for name, value in state.items()}


def calibrated_pack(packs: Path, pack: Pack, calibration: Calibration, version: str, *, default: bool) -> Pack:
    """A copy of the pack under another version, with the calibration. Raises PackError where that version is there."""
    card = pack.card.model_copy(update={"version": version, "default": default})
    # checked as a whole again: what is calibrated must have been trained
    card = PackCard.model_validate(card.model_dump() | {"calibration": calibration.model_dump()})
    return copy_pack(pack, card, packs)


def _refuse_existing(packs: Path, folder: str) -> None:
    if (packs / folder).exists():
        raise PackError(f"There is a pack {folder} already.")
