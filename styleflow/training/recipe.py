"""A recipe: everything that decides what a training run makes of a store, as one TOML file and one frozen value."""

from __future__ import annotations

import collections.abc
import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from styleflow.errors import ConfigurationError
from styleflow.training.batches import BatchMix
from styleflow.training.loop import LoopWish
from styleflow.training.style_encoder import EncoderTraining

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of the store's videos are learnt from."""

    folds: int = 5
    held_back: int = 0
    """This fold's identities are never learnt from: they stop training early and calibrate the pack. -1: none."""
    without_generators: tuple[str, ...] = ()
    """For leave-one-generator-out."""

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError("folds must be 2 or more")
        if not -1 <= self.held_back < self.folds:
            raise ValueError(f"held_back must be -1 or one of the folds 0 to {self.folds - 1}, not {self.held_back}")


@dataclass(frozen=True, kw_only=True)
class FramesStep:
    """Training of the content branch on patches and frames."""

    loop: LoopWish
    mix: BatchMix
    patch_weight: float = 1.0
    pair_weight: float = 0.5
    train_trunk: bool = True
    """Without it this is the baseline of the starting weights: only what stands on the trunk learns."""


@dataclass(frozen=True, kw_only=True)
class ReservoirWish:
    """Drawn clips that are used more than once."""

    rounds: int = 8
    batches_per_round: int = 10
    steps_per_round: int = 100


@dataclass(frozen=True, kw_only=True)
class StageOneStep:
    """Training of the StyleGRU."""

    loop: LoopWish
    mix: BatchMix
    reservoir: ReservoirWish = field(default_factory=ReservoirWish)
    triplets: int = 64
    head_hidden: int = 128


@dataclass(frozen=True, kw_only=True)
class StageTwoStep:
    """Training of what joins the branches."""

    loop: LoopWish
    mix: BatchMix
    reservoir: ReservoirWish = field(default_factory=ReservoirWish)
    pairs: int = 32
    pair_weight: float = 0.5
    train_trunk: bool = False
    """Whether the content branch's trunk learns too: every step then draws its own clips."""
    with_style: bool = True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All steps, in the order in which they are trained."""

    name: str
    size: str = "compact"
    """One of `models.sizes.SIZES`."""
    sizes: Mapping[str, Any] = field(default_factory=dict)
    """Or all fields of `models.sizes.DetectorSizes`, for a network of other sizes."""
    seed: int = 0
    selection: Selection = field(default_factory=Selection)
    encoder: EncoderTraining
    frames: FramesStep
    stage_one: StageOneStep
    stage_two: StageTwoStep

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ConfigurationError, which names what is missing, unknown or of the wrong kind."""
        try:
            return built(cls, tomllib.loads(path.read_text(encoding="utf-8")), path.name)
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"the recipe {path.name} cannot be read: {error}") from error


def built(kind: type[Value], values: Mapping[str, Any], where: str) -> Value:
    """A dataclass from a table. Raises ConfigurationError for a name that it does not have or lacks."""
    hints = typing.get_type_hints(kind)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]  # kind is a dataclass
    for name in values:
        if name not in known:
            raise ConfigurationError(f"{where}: there is no {name!r}; known are {', '.join(known)}")
    for name, entry in known.items():
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ConfigurationError(f"{where}: {name!r} is missing")
    made = {name: _value(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return kind(**made)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigurationError(f"{where} must be a table")
        return built(typing.cast("type[Any]", kind), value, where)
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise ConfigurationError(f"{where} must be one of {', '.join(map(str, typing.get_args(kind)))}")
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_value(typing.get_args(kind)[0], item, where) for item in value)
    if origin in (dict, collections.abc.Mapping) and isinstance(value, dict):
        return {str(name): _value(typing.get_args(kind)[1], item, where) for name, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(origin or kind, type) and not isinstance(origin, types.UnionType) and type(value) is not kind:
        raise ConfigurationError(f"{where} must be {getattr(kind, '__name__', kind)}, not {value!r:.40}")
    return value
