from __future__ import annotations

import pytest
import torch
from torch import Tensor

from styleflow.models.detector import COMPACT, PAPER, ClipOutput, StyleFlowDetector, skeleton
from styleflow.models.sizes import FlowLevel
from tests.models.small_networks import TINY, filled_detector, random_clips, tiny

LEVELS: list[tuple[FlowLevel, list[bool]]] = [
    ("total", [True, True, True]),
    ("coarse", [True, False, False]),
    ("middle", [False, True, False]),
    ("fine", [False, False, True]),
    ("middle+", [False, True, True]),
    ("coarse+", [True, True, False]),
]


def judged(detector: StyleFlowDetector, content: Tensor, style: Tensor) -> ClipOutput:
    output: ClipOutput = detector(content, style)
    return output


def test_output_has_one_logit_a_clip_one_flow_a_step_and_one_attention_a_frame() -> None:
    output = judged(filled_detector(), *random_clips(TINY, clips=2))

    assert output.logit.shape == (2,)
    assert output.flow_norms.shape == (2, TINY.clip_frames - 1, 3)
    assert output.attention.shape == (2, TINY.clip_frames)
    assert {output.logit.dtype, output.flow_norms.dtype, output.attention.dtype} == {torch.float32}


def test_compact_takes_clips_of_32_frames_and_gives_31_flow_steps() -> None:
    output = judged(filled_detector(COMPACT), *random_clips(COMPACT, clips=1))

    assert output.logit.shape == (1,)
    assert output.flow_norms.shape == (1, 31, 3)
    assert output.attention.shape == (1, 32)
    assert all(bool(tensor.isfinite().all()) for tensor in vars(output).values())


def test_changing_only_the_style_input_changes_the_logit() -> None:
    detector = filled_detector()
    content, style = random_clips(TINY, clips=1)
    _, other_style = random_clips(TINY, clips=1, seed=1)

    difference = judged(detector, content, style).logit - judged(detector, content, other_style).logit

    assert difference.abs().item() > 1e-4


def test_changing_only_the_content_input_changes_the_logit_and_not_the_flow() -> None:
    detector = filled_detector()
    content, style = random_clips(TINY, clips=1)
    other_content, _ = random_clips(TINY, clips=1, seed=1)

    one, other = judged(detector, content, style), judged(detector, other_content, style)

    assert (one.logit - other.logit).abs().item() > 1e-4
    assert torch.equal(one.flow_norms, other.flow_norms)


def test_clips_of_a_batch_do_not_see_each_other() -> None:
    detector = filled_detector()
    content, style = random_clips(TINY, clips=3)

    together = judged(detector, content, style)

    for index in range(3):
        alone = judged(detector, content[index : index + 1], style[index : index + 1])
        torch.testing.assert_close(together.logit[index], alone.logit[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.flow_norms[index], alone.flow_norms[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.attention[index], alone.attention[0], rtol=1e-4, atol=1e-5)


def test_a_face_that_stands_still_has_no_flow_and_the_step_where_it_changes_has() -> None:
    detector = filled_detector()
    content, style = random_clips(TINY, clips=1)
    style[:, :5], style[:, 5:] = style[:, :1].clone(), style[:, 5:6].clone()

    norms = judged(detector, content, style).flow_norms[0]

    changed = norms > 1e-3
    assert changed.tolist() == [[step == 4] * 3 for step in range(TINY.flow_steps)]


@pytest.mark.parametrize(("level", "computed"), LEVELS)
def test_a_level_that_is_not_computed_has_no_flow_norm(level: FlowLevel, computed: list[bool]) -> None:
    output = judged(filled_detector(tiny(level)), *random_clips(TINY, clips=1))

    assert output.flow_norms.isfinite().all(dim=1)[0].tolist() == computed
    assert output.flow_norms.isnan().all(dim=1)[0].tolist() == [not there for there in computed]


def test_both_frames_of_a_token_carry_its_attention() -> None:
    detector = filled_detector()
    content, style = random_clips(TINY, clips=1)

    attention = judged(detector, content, style).attention

    embedding = detector.style_gru(detector.style_flow(style).flatten(2))
    fused, _ = detector.fuse(detector.content(content), embedding)
    tokens = detector.temporal_transformer(fused)[1]
    torch.testing.assert_close(attention[:, 0::2], tokens)
    assert torch.equal(attention[:, 0::2], attention[:, 1::2])


def test_compact_weights_fit_in_15_megabytes() -> None:
    state = skeleton(COMPACT).state_dict()

    assert sum(tensor.numel() * tensor.element_size() for tensor in state.values()) <= 15e6


def test_paper_size_has_the_published_number_of_parameters() -> None:
    parameters = sum(parameter.numel() for parameter in skeleton(PAPER).parameters())

    assert parameters == 267_136_704 + (629_243_904 + 62 + 16_384) + 18_964_289
