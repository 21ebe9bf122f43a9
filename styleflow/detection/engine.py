"""The network and the face detector of one process, and how clips are put to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from styleflow.detection.inputs import ClipInput
from styleflow.errors import GpuOutOfMemory, InternalFailure, PackError
from styleflow.faces.detect import FaceDetector, MtcnnFaceDetector
from styleflow.models.detector import ClipOutput, StyleFlowDetector
from styleflow.models.precision import Precision, chosen_precision
from styleflow.models.verification import check
from styleflow.models.weights import load_detector
from styleflow.packs import Pack, PackCard, Preprocessing, Triple
from styleflow.video.clips import CLIP_FRAMES

CLIPS_AT_ONCE = 4
"""Clips in one call of the network. More do not run faster on a CPU, and each holds its activations."""


@dataclass(frozen=True, eq=False)
class ClipJudgement:
    """What the network says about one clip, as plain arrays."""

    logit: float
    """Finite."""
    flow: NDArray[np.float64]
    """(frames - 1, 3): coarse, middle and fine norms; NaN for a level that the network does not compute."""
    attention: NDArray[np.float64]
    """(frames,), 0..1, the largest is 1."""


def refuse_other_clip_lengths(card: PackCard) -> None:
    """Raises PackError for a pack whose clips are not as long as those that a video is cut into."""
    if card.preprocessing.clip_frames != CLIP_FRAMES:
        raise PackError(
            f"The pack {card.model} reads clips of another length than {CLIP_FRAMES} frames: "
            f"{card.preprocessing.clip_frames}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """Everything that judging needs, loaded once per process. Device and precision are the caller's
    choice."""

    network: StyleFlowDetector
    faces: FaceDetector
    card: PackCard
    device: torch.device
    precision: Precision
    clips_at_once: int = CLIPS_AT_ONCE

    @classmethod
    def load(cls, pack: Pack, *, device: torch.device | str = "cpu", precision: str = "float32") -> Self:
        """Raises PackError for a pack that must not be served or whose golden clip gives another logit here,
        ConfigurationError without a fitting torchvision."""
        refuse_other_clip_lengths(pack.card)
        place = torch.device(device)
        chosen = chosen_precision(precision, place)
        network = load_detector(pack, place, chosen, serving=True)
        check(network, pack.card, chosen)
        return cls(
            network=network,
            faces=MtcnnFaceDetector(place),
            card=pack.card,
            device=place,
            precision=chosen,
        )

    def judge(self, clips: Sequence[ClipInput]) -> list[ClipJudgement]:
        """Judge clips in the order given, a bounded number at a time.

        Raises GpuOutOfMemory, and InternalFailure where the network gives no finite number.
        """
        judgements: list[ClipJudgement] = []
        for start in range(0, len(clips), self.clips_at_once):
            judgements.extend(self._judge_batch(clips[start : start + self.clips_at_once]))
        return judgements

    def _judge_batch(self, clips: Sequence[ClipInput]) -> list[ClipJudgement]:
        try:
            with torch.inference_mode():
                content, style = to_tensors(clips, self.card.preprocessing, self.device)
                return _plain(self.network(content, style))
        except torch.OutOfMemoryError as error:
            raise GpuOutOfMemory from error


def to_tensors(
    clips: Sequence[ClipInput], preprocessing: Preprocessing, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """content float32 [B,3,T,S,S] and style float32 [B,T,3,R,R], normalised as the pack's card says."""
    content = torch.from_numpy(np.stack([clip.content for clip in clips])).to(device)
    style = torch.from_numpy(np.stack([clip.style for clip in clips])).to(device)
    content = _normalised(content, preprocessing.content_mean, preprocessing.content_std)
    style = _normalised(style, preprocessing.style_mean, preprocessing.style_std)
    return content.permute(0, 4, 1, 2, 3).contiguous(), style.permute(0, 1, 4, 2, 3).contiguous()


def _normalised(pixels: torch.Tensor, mean: Triple, std: Triple) -> torch.Tensor:
    offset = torch.tensor(mean, device=pixels.device)
    scale = torch.tensor(std, device=pixels.device)
    return (pixels.float() / 255 - offset) / scale


def _plain(output: ClipOutput) -> list[ClipJudgement]:
    logits = output.logit.double().cpu().tolist()
    flows = output.flow_norms.double().cpu().numpy()
    attentions = output.attention.double().cpu().numpy()
    if not all(map(math.isfinite, logits)) or not np.isfinite(attentions).all():
        raise InternalFailure("The network gave no finite number for a clip.")
    return [
        ClipJudgement(logit, flow, attention / max(float(attention.max()), 1e-12))
        for logit, flow, attention in zip(logits, flows, attentions, strict=True)
    ]
