"""A pack becomes a network: verified, strict, safetensors only. And the making of packs with random parameters."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from styleflow.errors import ConfigurationError, PackError
from styleflow.models.detector import StyleFlowDetector, skeleton
from styleflow.models.random_parameters import random_parameters
from styleflow.models.sizes import DetectorSizes, size_name
from styleflow.models.verification import measured
from styleflow.packs import (
    COMPONENTS,
    Pack,
    PackCard,
    Preprocessing,
    Training,
    WeightsFile,
    read_pack,
    sha256_of,
    verify_pack,
    write_card,
)

Precision = Literal["float32", "bfloat16", "float16"]

Layout = Mapping[str, tuple[bool, tuple[int, ...]]]
"""Per name: whether the values are floating point, and the shape."""

NAMED_DIFFERENCES = 8


def load_detector(
    pack: Pack, device: str | torch.device = "cpu", precision: Precision = "float32"
) -> StyleFlowDetector:
    """The pack's network in eval mode on `device`, without gradients, its parameters in `precision`.

    Every byte is verified against the card first, then every name and shape against the network that the card
    describes. Parameters are read one at a time: never two copies of the whole. Raises PackError, which says what
    does not fit; ConfigurationError for a precision that the device does not have.
    """
    target = torch.device(device)
    dtype = _dtype(precision, target)
    verify_pack(pack)
    detector = skeleton(_sizes_of(pack.card), pack.card.components)
    with _opened(pack) as file:
        found = {name: _entry(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118  # not a mapping
        _refuse_differences(pack, layout_of(detector), found)
        state = {name: _placed(file.get_tensor(name), target, dtype) for name in found}
    detector.load_state_dict(state, strict=True, assign=True)
    # cuDNN wants a GRU's parameters side by side; elsewhere this does nothing.
    if detector.has_style_branch:
        detector.style_gru.gru.flatten_parameters()
    return detector.eval().requires_grad_(False)


def layout_of(network: torch.nn.Module) -> Layout:
    return {name: (tensor.is_floating_point(), tuple(tensor.shape)) for name, tensor in network.state_dict().items()}


def differences(expected: Layout, found: Layout) -> list[str]:
    """One sentence part per name that is missing, left over or of another kind, in that order. Empty: they agree."""
    missing = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    left_over = [f"{name} is left over" for name in sorted(found.keys() - expected.keys())]
    other = [
        f"{name} is {_described(found[name])}, expected {_described(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    return missing + left_over + other


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

        write_pack(directory, random_parameters(sizes, seed), describe)
    pack = read_pack(target)
    if _sizes_of(pack.card) != sizes:
        raise PackError(f"The pack {target.name} exists with other sizes.")
    verify_pack(pack)
    return pack


def write_pack(directory: Path, state: Mapping[str, Tensor], describe: Callable[[WeightsFile], PackCard]) -> Path:
    """Write a pack into `directory`, the folder of all packs, with the golden clip measured; returns its folder.

    The pack appears whole or not at all. One of that name that is there already stays as it is. Raises PackError for
    parameters that do not fit the card that `describe` makes, or that give no finite number.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=directory) as scratch:
        made = Path(scratch) / "pack"
        made.mkdir()
        weights = made / "model.safetensors"
        save_file(dict(state), weights)
        weights.chmod(0o644)  # safetensors leaves it to its writer alone; who loads a pack may be another user
        card = describe(
            WeightsFile(file=weights.name, sha256=sha256_of(weights), size_bytes=weights.stat().st_size),
        )
        write_card(measured(Pack(card, made), _loaded), made)
        _moved(made, directory / card.folder)
    return directory / card.folder


def _loaded(pack: Pack, device: str, precision: str) -> StyleFlowDetector:
    return load_detector(pack, device, cast("Precision", precision))


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
        preprocessing=Preprocessing(
            clip_frames=sizes.clip_frames,
            content_size=sizes.content.input_size,
            style_size=sizes.style_encoder.input_size,
        ),
        calibration=None,
        training=Training(trained=False, statement="random weights: not trained", seed=seed),
        licences=("MIT",),
        created=created.replace(microsecond=0),
    )


def _moved(made: Path, target: Path) -> None:
    try:
        os.rename(made, target)
    except OSError:
        # Another process made the same pack meanwhile; the caller verifies that one.
        if not target.is_dir():
            raise
        shutil.rmtree(made)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision not in get_args(Precision):
        raise ConfigurationError(f"The precision must be one of {', '.join(get_args(Precision))}.")
    if precision == "float16" and device.type == "cpu":
        raise ConfigurationError("The precision float16 needs an accelerator; on a CPU use float32 or bfloat16.")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def _sizes_of(card: PackCard) -> DetectorSizes:
    try:
        sizes = DetectorSizes.from_json(card.sizes)
    except ValueError as error:
        raise PackError(f"The card of the pack {card.folder} describes no network: {error}") from error
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


def _described(entry: tuple[bool, tuple[int, ...]]) -> str:
    floating, shape = entry
    return f"{'floating' if floating else 'integer'} {list(shape)}"


def _refuse_differences(pack: Pack, expected: Layout, found: Layout) -> None:
    found_out = differences(expected, found)
    if found_out:
        more = len(found_out) - NAMED_DIFFERENCES
        tail = f"; and {more} more" if more > 0 else ""
        listing = "; ".join(found_out[:NAMED_DIFFERENCES])
        raise PackError(
            f"The parameters of the pack {pack.card.folder} do not fit its card: {listing}{tail}.",
            differences=found_out,
        )


def _placed(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A copy of its own: what safetensors gives on a CPU is a view of the file, which could change underneath."""
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
