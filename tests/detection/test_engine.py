from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from styleflow.detection.engine import Detector, to_tensors
from styleflow.detection.inputs import ClipInput
from styleflow.errors import GpuOutOfMemory, InternalFailure, PackError
from styleflow.models.detector import ClipOutput
from styleflow.packs import Pack


class Scripted(nn.Module):
    """A network that remembers its batch sizes and does as told."""

    def __init__(self, logit: float = 0.0, error: Exception | None = None, attention: float = 1 / 32) -> None:
        super().__init__()
        self.logit, self.error, self.attention = logit, error, attention
        self.batches: list[int] = []

    def forward(self, content: Tensor, style: Tensor) -> ClipOutput:
        self.batches.append(len(content))
        if self.error:
            raise self.error
        count = len(content)
        return ClipOutput(
            torch.full((count,), self.logit), torch.zeros(count, 31, 3), torch.full((count, 32), self.attention)
        )


def clips(count: int, seed: int = 0) -> list[ClipInput]:
    draw = np.random.default_rng(seed)
    return [
        ClipInput(
            draw.integers(0, 256, (32, 112, 112, 3), dtype=np.uint8), draw.integers(0, 256, (32, 64, 64, 3), np.uint8)
        )
        for _ in range(count)
    ]


def scripted(detector: Detector, network: Scripted) -> Detector:
    return replace(detector, network=network)  # type: ignore[arg-type]


def test_each_clip_gets_a_finite_logit_its_flow_and_an_attention_that_peaks_at_one(detector: Detector) -> None:
    judgements = detector.judge(clips(2))

    assert len(judgements) == 2
    for judgement in judgements:
        assert np.isfinite(judgement.logit)
        assert judgement.flow.shape == (31, 3)
        assert judgement.attention.shape == (32,)
        assert judgement.attention.max() == pytest.approx(1.0)
        assert judgement.attention.min() >= 0


def test_a_clip_is_judged_the_same_alone_and_in_company(detector: Detector) -> None:
    three = clips(3)
    together = [judgement.logit for judgement in detector.judge(three)]
    alone = [detector.judge([clip])[0].logit for clip in three]

    assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)
    assert len(set(together)) == 3


def test_changing_only_the_style_input_changes_the_logit(detector: Detector) -> None:
    first, other = clips(2)
    mixed = ClipInput(first.content, other.style)

    judged, judged_mixed = detector.judge([first, mixed])

    assert judged.logit != pytest.approx(judged_mixed.logit, rel=1e-6, abs=0)


def test_changing_only_the_content_input_changes_the_logit(detector: Detector) -> None:
    first, other = clips(2)

    judged, judged_mixed = detector.judge([first, ClipInput(other.content, first.style)])

    assert judged.logit != pytest.approx(judged_mixed.logit, rel=1e-6, abs=0)


def test_clips_are_put_to_the_network_a_bounded_number_at_a_time(detector: Detector) -> None:
    network = Scripted()

    scripted(detector, network).judge(clips(9))

    assert network.batches == [4, 4, 1]


def test_no_clips_need_no_network(detector: Detector) -> None:
    assert scripted(detector, Scripted(error=RuntimeError())).judge([]) == []


def test_memory_that_does_not_suffice_is_an_error_that_can_be_tried_again(detector: Detector) -> None:
    broken = scripted(detector, Scripted(error=torch.OutOfMemoryError("CUDA out of memory")))

    with pytest.raises(GpuOutOfMemory) as raised:
        broken.judge(clips(1))
    assert raised.value.retryable


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_is_a_failure(detector: Detector, logit: float) -> None:
    with pytest.raises(InternalFailure):
        scripted(detector, Scripted(logit)).judge(clips(1))


def test_an_attention_that_is_no_number_is_a_failure(detector: Detector) -> None:
    with pytest.raises(InternalFailure):
        scripted(detector, Scripted(attention=float("nan"))).judge(clips(1))


def test_pixels_are_normalised_as_the_card_says(detector: Detector) -> None:
    white = ClipInput(np.full((32, 112, 112, 3), 255, np.uint8), np.zeros((32, 64, 64, 3), np.uint8))

    content, style = to_tensors([white], detector.card.preprocessing, torch.device("cpu"))

    assert content.shape == (1, 3, 32, 112, 112)
    assert style.shape == (1, 32, 3, 64, 64)
    assert content[0, :, 0, 0, 0].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )
    assert style.unique().tolist() == [-1.0]


def test_a_pack_for_clips_of_another_length_is_refused(pack: Pack) -> None:
    preprocessing = pack.card.preprocessing.model_copy(update={"clip_frames": 16})

    with pytest.raises(PackError, match="another length"):
        Detector.load(replace(pack, card=pack.card.model_copy(update={"preprocessing": preprocessing})))
