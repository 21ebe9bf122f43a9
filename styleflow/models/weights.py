"""A pack becomes a network: verified, strict, safetensors only. And the making of packs with random parameters."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from styleflow.errors import PackError
from styleflow.models.content import ContentNetwork
from styleflow.models.detector import StyleFlowDetector, skeleton
from styleflow.models.folding import fold_content
from styleflow.models.fused_style_encoder import fused
from styleflow.models.layout import Layout, differences, layout_of, listing
from styleflow.models.precision import Precision, chosen_precision, read_as, reduce_convolutions
from styleflow.models.random_parameters import random_parameters
from styleflow.models.sizes import DetectorSizes, size_name
from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.models.style_gru import StyleGRU
from styleflow.models.verification import measured
from styleflow.packs import (
    COMPONENTS,
    Component,
    Pack,
    PackCard,
    Preprocessing,
    StyleFraming,
    Training,
    WeightsFile,
    read_pack,
    sha256_of,
    verify_pack,
    write_card,
)


def load_detector(
    pack: Pack, device: str | torch.device = "cpu", precision: str = "float32", *, serving: bool = False
) -> StyleFlowDetector:
    """The pack's network in eval mode on `device`, without gradients, in `precision` (precision.py; `auto` too).

    Every byte is verified against the card first, then every name and shape against the network that the card
    describes. With `serving`, the style encoder is fused and every norm that can be is folded: the same function,
    faster, without the published names. Parameters are read one at a time and a component at a time, the one that
    is rearranged first: never two copies of the whole. Raises PackError, which says what does not fit;
    ConfigurationError for a precision that the device does not have.
    """
    target = torch.device(device)
    chosen = chosen_precision(precision, target)
    if target.type == "cuda" and chosen == "float32":
        # By default cuDNN rounds float32 convolutions to ten bits of mantissa: that is not the reference.
        torch.backends.cudnn.allow_tf32 = False
    before = _identity(pack)
    verify_pack(pack)
    detector = _described_by(pack.card)
    with _opened(pack) as file:
        found = {name: _entry(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118  # not a mapping
        _refuse_differences(pack, layout_of(detector), found)
        for component in COMPONENTS:
            if component in pack.card.components:
                names = [name for name in found if name.startswith(f"{component}.")]
                state = {name: _placed(file.get_tensor(name), target, read_as(name, chosen)) for name in names}
                _filled(detector, component, state, chosen, serving=serving)
    if _identity(pack) != before:
        raise PackError(f"The pack {pack.card.folder} changed while it was read: {pack.card.weights.file}.")
    return detector.eval().requires_grad_(False)


def _identity(pack: Pack) -> tuple[int, ...]:
    """Of the file of parameters: another one, or other bytes, would have another."""
    try:
        status = pack.weights_path.stat()
    except OSError as error:
        raise PackError(f"The pack {pack.card.folder} has no readable {pack.card.weights.file}.") from error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _described_by(card: PackCard) -> StyleFlowDetector:
    """Without memory for its parameters. Raises PackError where no network can have the card's sizes."""
    sizes = _sizes_of(card)
    try:
        return skeleton(sizes, card.components)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise PackError(f"The card of the pack {card.folder} describes no network: its sizes are too large.") from error


def _filled(
    detector: StyleFlowDetector, component: Component, state: dict[str, Tensor], precision: Precision, *, serving: bool
) -> None:
    part = detector.get_submodule(component)
    values = {name.removeprefix(f"{component}."): state.pop(name) for name in list(state)}
    part.load_state_dict(values, strict=True, assign=True)
    values.clear()
    part.eval().requires_grad_(False)
    if serving and isinstance(part, GradualStyleEncoder):
        part = detector.style_encoder = fused(part, detector.sizes.style_gru.level)
    elif serving and isinstance(part, ContentNetwork):
        fold_content(part)
    if component in ("style_encoder", "content"):
        reduce_convolutions(part, precision)
    if isinstance(part, StyleGRU) and precision == "float32":
        # cuDNN wants a GRU's parameters side by side; elsewhere this does nothing.
        part.gru.flatten_parameters()


def write_random_pack(
    directory: Path,
    sizes: DetectorSizes,
    seed: int,
    *,
    default: bool = False,
    created: datetime | None = None,
) -> Pack:
    """A pack of random parameters in `directory`, the folder of all packs: same seed, same bytes.

    It can be run and never scores: its card has no calibration and says that nothing was trained. Called
    `styleflow-<size>@random-<seed>`. A pack of that name that is there already is verified and kept. It appears
    whole or not at all, so that a reader of the folder never sees half of it.
    """
    target = directory / f"styleflow-{size_name(sizes)}-random-{seed}"
    if not target.exists():

        def describe(weights: WeightsFile) -> PackCard:
            return _random_card(sizes, seed, weights, default=default, created=created or datetime.now(UTC))

        write_pack(directory, random_parameters(sizes, seed), describe, keep_existing=True)
    pack = read_pack(target)
    if _sizes_of(pack.card) != sizes:
        raise PackError(f"The pack {target.name} exists with other sizes.")
    verify_pack(pack)
    return pack


def write_pack(
    directory: Path,
    state: dict[str, Tensor],
    describe: Callable[[WeightsFile], PackCard],
    *,
    keep_existing: bool = False,
) -> Path:
    """Write a pack into `directory`, the folder of all packs, with the golden clip measured; returns its folder.

    `state` is emptied once it is written, so that measuring does not hold the parameters twice. The pack appears whole
    or not at all. One of that name that is there already stays as it is: with `keep_existing`
    without a word, else PackError is raised. Raises PackError too for parameters that do not fit the card that
    `describe` makes, or that give no finite number, and for a `directory` in which no folder can be made.
    """
    with _scratch_in(directory) as scratch:
        made = scratch / "pack"
        made.mkdir()
        weights = made / "model.safetensors"
        save_file(state, weights)
        state.clear()
        weights.chmod(0o644)  # safetensors leaves it to its writer alone; who loads a pack may be another user
        card = describe(
            WeightsFile(file=weights.name, sha256=sha256_of(weights), size_bytes=weights.stat().st_size),
        )
        write_card(measured(Pack(card, made), load_detector), made)
        _moved(made, directory / card.folder, keep_existing=keep_existing)
    return directory / card.folder


def preprocessing_of(sizes: DetectorSizes, style_framing: StyleFraming = "ffhq") -> Preprocessing:
    """How pixels are prepared for a network of these sizes."""
    return Preprocessing(
        clip_frames=sizes.clip_frames,
        content_size=sizes.content.input_size,
        content_mean=sizes.content.mean,
        content_std=sizes.content.std,
        style_size=sizes.style_encoder.input_size,
        style_framing=style_framing,
    )


def _random_card(
    sizes: DetectorSizes, seed: int, weights: WeightsFile, *, default: bool, created: datetime
) -> PackCard:
    return PackCard(
        name=f"styleflow-{size_name(sizes)}",
        version=f"random-{seed}",
        default=default,
        size=size_name(sizes),
        sizes=sizes.to_json(),
        components=COMPONENTS,
        weights=weights,
        preprocessing=preprocessing_of(sizes),
        calibration=None,
        training=Training(trained=False, statement="random weights: not trained", seed=seed),
        licences=("MIT",),
        created=created.replace(microsecond=0),
    )


@contextmanager
def _scratch_in(directory: Path) -> Iterator[Path]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".making-", dir=directory)
    except OSError as error:
        raise PackError(f"No pack can be made in {directory.name}: {error.strerror}.") from error
    with scratch as name:
        yield Path(name)


def _moved(made: Path, target: Path, *, keep_existing: bool) -> None:
    try:
        os.rename(made, target)
    except OSError:
        # Another process made the same pack meanwhile; the caller verifies that one.
        if not target.is_dir():
            raise
        if not keep_existing:
            raise PackError(f"The pack {target.name} exists already; choose another version.") from None
        shutil.rmtree(made)


def _sizes_of(card: PackCard) -> DetectorSizes:
    try:
        sizes = DetectorSizes.from_json(card.sizes)
    except ValueError as error:
        raise PackError(f"The card of the pack {card.folder} describes no network: {error}") from error
    if card.size != size_name(sizes):
        raise PackError(
            f"The card of the pack {card.folder} says that its size is {card.size}; its network is {size_name(sizes)}."
        )
    prepared = card.preprocessing
    made_for = (sizes.clip_frames, sizes.content.input_size, sizes.style_encoder.input_size)
    if (prepared.clip_frames, prepared.content_size, prepared.style_size) != made_for:
        raise PackError(f"The card of the pack {card.folder} prepares clips of other sizes than its network takes.")
    return sizes


@contextmanager
def _opened(pack: Pack) -> Iterator[Any]:
    try:
        with safe_open(pack.weights_path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        weights = pack.card.weights.file
        raise PackError(f"The pack {pack.card.folder}: {weights} is not a readable safetensors file.") from error


def _entry(part: Any) -> tuple[bool, tuple[int, ...]]:
    return part.get_dtype() in {"F64", "F32", "F16", "BF16"}, tuple(part.get_shape())


def _refuse_differences(pack: Pack, expected: Layout, found: Layout) -> None:
    found_out = differences(expected, found)
    if found_out:
        raise PackError(
            f"The parameters of the pack {pack.card.folder} do not fit its card: {listing(found_out)}.",
            differences=found_out,
        )


def _placed(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A copy of its own: what safetensors gives on a CPU is a view of the file, which could change underneath."""
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
