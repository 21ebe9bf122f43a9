from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from styleflow.models.detector import PAPER, StyleFlowDetector, skeleton
from styleflow.models.published import PSP, STAGE_TWO, STYLE_GRU, renamed
from tests.models.named_values import drawn, filled, golden, relative_error

STAGE_TWO_PARTS = ("content.", "style_attention.", "temporal_transformer.")


def published_stage_two_shapes(detector: StyleFlowDetector) -> dict[str, tuple[int, ...]]:
    back = {here: there for there, here in STAGE_TWO.items()}
    shapes = {}
    for name, tensor in detector.state_dict().items():
        part = name.split(".")[0] + "."
        if part in back:
            shapes[back[part] + name.removeprefix(part)] = tuple(tensor.shape)
    return shapes


def test_stage_two_under_its_published_names_reproduces_the_published_network() -> None:
    detector = skeleton(PAPER)
    shapes = published_stage_two_shapes(detector)
    assert len(shapes) == 275 + 8
    state = renamed({f"module.{name}": value for name, value in filled(shapes).items()}, STAGE_TWO)
    left_out = detector.load_state_dict(state, strict=False, assign=True)
    assert not left_out.unexpected_keys
    assert not [name for name in left_out.missing_keys if name.startswith(STAGE_TWO_PARTS)]
    detector.eval()

    with torch.inference_mode():
        content = detector.content(drawn("ftcn.input", (1, 3, 32, 224, 224)))
        fused, attention = detector.fuse(content, drawn("stage2.embedding", (1, 16384)))
        logit, _ = detector.temporal_transformer(fused)
        content_only_logit, _ = detector.temporal_transformer(content)

    expected = golden("stage2")
    assert relative_error(content, expected["content"]) <= 1e-4
    assert relative_error(attention, expected["attention"]) <= 1e-4
    assert relative_error(fused, expected["fused"]) <= 1e-4
    assert relative_error(logit, expected["logit"]) <= 1e-4
    assert relative_error(content_only_logit, expected["logit_content"]) <= 1e-4


def test_what_serving_does_not_need_is_left_out() -> None:
    assert renamed({"encoder.body.0.x": 1, "decoder.style.0.x": 2}, PSP) == {"style_encoder.body.0.x": 1}
    gru = {"module.model.bn.weight": 1, "module.model.dense.3.bias": 2}
    assert renamed(gru, STYLE_GRU) == {"style_gru.bn.weight": 1}


def test_a_name_of_another_network_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match=r"resnet50\.fc"):
        renamed({"resnet50.fc": 1}, STAGE_TWO)


names = st.from_regex(r"[a-z0-9_]{1,6}(\.[a-z0-9_]{1,6}){0,3}", fullmatch=True)


@given(names=st.sets(names, max_size=8), wrapper=st.sampled_from(["", "module."]))
def test_no_two_parameters_get_one_name(names: set[str], wrapper: str) -> None:
    state = {f"{wrapper}resnet.{name}": name for name in names}

    assert set(renamed(state, STAGE_TWO).values()) == names
