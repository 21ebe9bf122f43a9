"""The golden clip: one drawn clip whose logit a pack records when it is made, and must give wherever it is served.

A right SHA-256 says that the parameters are the right ones; the golden clip says that this machine, device, precision
and code make of them the network that they were.
"""

from __future__ import annotations

import hashlib
import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleflow.errors import ConfigurationError, PackError
from styleflow.models.detector import StyleFlowDetector
from styleflow.packs import GoldenClip, Pack, PackCard, Preprocessing, Triple

BLOCKS = 16
"""The drawn pictures consist of 16 x 16 plain blocks."""
FLOORS = {"float32": 1e-4, "bfloat16": 0.02}
"""Least tolerance recorded: other machines order their sums otherwise, though this one showed no difference."""
GREATEST = {"float32": 0.01, "bfloat16": 0.5, "float16": 0.5}
"""A check that lets more pass says nothing about which network runs."""
MARGIN = 4.0
"""Tolerance recorded, in multiples of the difference that was measured."""
MAX_PROBABILITY_SHIFT = 0.01
"""A precision that moves the golden clip's sigmoid further than this from float32 gets no tolerance: not served."""


class Load(Protocol):
    """`models.weights.load_detector`, given by the caller because that file writes packs too."""

    def __call__(self, pack: Pack, device: str, precision: str, *, serving: bool) -> StyleFlowDetector: ...


def golden_clip(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """(content [1,3,T,S,S], style [1,T,3,R,R]), float32, normalised as the card says. On the CPU; channels lie last
    in memory.

    Two pictures of 16 x 16 blocks are drawn from SHAKE-256, which is the same everywhere; the clip drifts from one to
    the other in integer steps, so that its style flow is a small difference of close vectors, as a face's is.
    """
    content = _drifting("content", preprocessing.clip_frames, preprocessing.content_size)
    style = _drifting("style", preprocessing.clip_frames, preprocessing.style_size)
    return (
        _normalised(content, preprocessing.content_mean, preprocessing.content_std).permute(3, 0, 1, 2)[None],
        _normalised(style, preprocessing.style_mean, preprocessing.style_std).permute(0, 3, 1, 2)[None],
    )


def golden_logit(network: StyleFlowDetector, preprocessing: Preprocessing, *, channels_last: bool = False) -> float:
    """What the network says about the golden clip, whose pictures lie in memory as in serving, or channels last."""
    device = next(network.parameters()).device
    content, style = (tensor.to(device) for tensor in golden_clip(preprocessing))
    if not channels_last:
        content, style = content.contiguous(), style.contiguous()
    with torch.inference_mode():
        return float(network(content, style).logit[0])


def measured(pack: Pack, load: Load) -> PackCard:
    """The card with the golden clip's logit and the tolerances measured on this CPU.

    float32: the network as it was published against its served form (fused, folded), with the clip's channels last in
    memory besides. bfloat16: against float32; left out where this machine cannot compute in it. float16 cannot be
    measured on a CPU and gets bfloat16's, whose rounding is eight times coarser. Raises PackError for a network that
    gives no finite number.
    """
    card = pack.card
    logit = golden_logit(load(pack, "cpu", "float32", serving=False), card.preprocessing)
    if not math.isfinite(logit):
        raise PackError(f"The network of the pack {card.folder} gives no finite number for the golden clip.")
    again = golden_logit(load(pack, "cpu", "float32", serving=True), card.preprocessing, channels_last=True)
    tolerance = {"float32": _tolerance("float32", logit, again)}
    if not tolerance["float32"] <= GREATEST["float32"]:
        raise PackError(
            f"The form in which it would be served does not give the answer of the published network: {logit:.6g} and "
            f"{again:.6g} for the golden clip of {card.folder}."
        )
    coarse = _in_bfloat16(pack, load)
    if coarse is not None and abs(_sigmoid(coarse) - _sigmoid(logit)) <= MAX_PROBABILITY_SHIFT:
        measured_coarse = _tolerance("bfloat16", logit, coarse)
        if measured_coarse <= GREATEST["bfloat16"]:
            tolerance |= dict.fromkeys(("bfloat16", "float16"), measured_coarse)
    golden = GoldenClip(rule="drifting-blocks-1", logit=logit)
    return card.model_copy(update={"golden": golden, "tolerance": tolerance})


def check(network: StyleFlowDetector, card: PackCard, precision: str) -> float:
    """Put the golden clip to a loaded network; returns its logit.

    Raises PackError where it is not the recorded one within the tolerance for the precision, or the card records
    neither; ConfigurationError where the device's memory does not suffice.
    """
    golden, tolerance = card.golden, card.tolerance.get(precision)
    if golden is None:
        raise PackError(f"The pack {card.folder} records no golden clip, so it cannot be checked: make it again.")
    if tolerance is None:
        known = ", ".join(card.tolerance) or "none"
        raise PackError(f"The pack {card.folder} must not be served in {precision}: it records tolerances for {known}.")
    if tolerance > GREATEST[precision]:
        raise PackError(f"The pack {card.folder} must not be served: a tolerance of {tolerance:g} checks nothing.")
    try:
        logit = golden_logit(network, card.preprocessing)
    except torch.OutOfMemoryError as error:
        raise ConfigurationError(f"the device has too little memory for the pack {card.folder}") from error
    # written so that a logit that is no number is refused too
    if not _difference(golden.logit, logit) <= tolerance:
        raise PackError(
            f"The pack {card.folder} does not give the golden clip's logit in {precision}: found {logit:.6g}, "
            f"its card says {golden.logit:.6g} (tolerance {tolerance:.2g}).",
            pack=card.model,
            expected=golden.logit,
            found=logit,
            tolerance=tolerance,
        )
    return logit


def _in_bfloat16(pack: Pack, load: Load) -> float | None:
    try:
        logit = golden_logit(load(pack, "cpu", "bfloat16", serving=True), pack.card.preprocessing)
    except (ConfigurationError, RuntimeError):  # this CPU, or this build of torch, has no such arithmetic
        return None
    return logit if math.isfinite(logit) else None


def _tolerance(precision: str, logit: float, other: float) -> float:
    return float(f"{max(FLOORS[precision], MARGIN * _difference(logit, other)):.2g}")


def _difference(expected: float, found: float) -> float:
    return abs(found - expected) / max(1.0, abs(expected))


def _sigmoid(logit: float) -> float:
    return float(torch.tensor(logit, dtype=torch.float64).sigmoid())


def _drifting(name: str, frames: int, side: int) -> NDArray[np.uint8]:
    """(frames, side, side, 3)."""
    drawn = hashlib.shake_256(f"styleflow golden clip: {name}".encode()).digest(2 * BLOCKS * BLOCKS * 3)
    first, last = np.frombuffer(drawn, dtype=np.uint8).reshape(2, 1, BLOCKS, BLOCKS, 3).astype(np.int64)
    step = np.arange(frames).reshape(-1, 1, 1, 1)
    small = (first * (frames - 1 - step) + last * step) // max(1, frames - 1)
    return np.kron(small, np.ones((1, side // BLOCKS, side // BLOCKS, 1), dtype=np.int64)).astype(np.uint8)


def _normalised(pixels: NDArray[np.uint8], mean: Triple, std: Triple) -> Tensor:
    scaled = torch.from_numpy(pixels).float() / 255
    return (scaled - torch.tensor(mean)) / torch.tensor(std)
