from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from styleflow.errors import PackError
from styleflow.models.published import (
    STAGE_TWO,
    STYLE_ENCODER,
    STYLE_GRU,
    load_ftcn,
    load_stage_two,
    load_style_encoder,
    load_style_gru,
    load_style_gru_classifier,
)
from styleflow.models.sizes import PAPER
from tests.models.named_values import drawn, filled, golden, relative_error
from tests.models.official_states import content_only, official, official_shapes
from tests.models.small_networks import TINY, filled_detector, random_clips


def refusal(state: dict[str, Tensor]) -> list[str]:
    with pytest.raises(PackError) as caught:
        load_stage_two(state, TINY)
    return list(caught.value.details["differences"])


def test_stage_two_under_its_published_names_reproduces_the_published_network() -> None:
    shapes = official_shapes(STAGE_TWO, PAPER)
    assert len(shapes) == 275 + 8
    network = load_stage_two({f"module.{name}": value for name, value in filled(shapes).items()})

    with torch.inference_mode():
        content = network.content(drawn("ftcn.input", (1, 3, 32, 224, 224)))
        fused, attention = network.fuse(content, drawn("stage2.embedding", (1, 16384)))
        logit, _ = network.temporal_transformer(fused)
        content_only_logit, _ = network.temporal_transformer(content)

    expected = golden("stage2")
    assert relative_error(content, expected["content"]) <= 1e-4
    assert relative_error(attention, expected["attention"]) <= 1e-4
    assert relative_error(fused, expected["fused"]) <= 1e-4
    assert relative_error(logit, expected["logit"]) <= 1e-4
    assert relative_error(content_only_logit, expected["logit_content"]) <= 1e-4


def test_stage_one_under_its_published_names_reproduces_the_published_logit_and_embedding() -> None:
    shapes = {
        "hidden_state": (4, 1, 24),
        **{
            f"gru.{kind}_l{layer}{way}": shape
            for layer, width in ((0, 96), (1, 48))
            for way in ("", "_reverse")
            for kind, shape in {
                "weight_ih": (72, width),
                "weight_hh": (72, 24),
                "bias_ih": (72,),
                "bias_hh": (72,),
            }.items()
        },
        "dense.1.fn.net.0.weight": (32, 96),
        "dense.1.fn.net.0.bias": (32,),
        "dense.1.fn.net.3.weight": (96, 32),
        "dense.1.fn.net.3.bias": (96,),
        "dense.3.weight": (1, 96),
        "dense.3.bias": (1,),
        **{f"bn.{name}": (31,) for name in ("weight", "bias", "running_mean", "running_var")},
        "bn.num_batches_tracked": (),
    }
    state = {f"module.model.{name}": value for name, value in filled(shapes).items()}
    flow = drawn("stylegru.input", (3, 31, 96))

    with torch.inference_mode():
        logit, embedding = load_style_gru_classifier(state)(flow)
        served = load_style_gru(state)(flow)

    expected = golden("style_gru")
    assert relative_error(logit, expected["logit"]) <= 1e-4
    assert relative_error(embedding, expected["embedding"]) <= 1e-4
    assert torch.equal(served, embedding)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loaded_parts_put_together_are_the_whole_detector(seed: int) -> None:
    encoder = load_style_encoder(official(STYLE_ENCODER, seed=seed), TINY.style_encoder)
    gru = load_style_gru(official(STYLE_GRU, seed=seed))
    stage_two = load_stage_two(official(STAGE_TWO, seed=seed), TINY)
    content, style = random_clips(TINY, clips=2, seed=seed)

    latents = encoder(style.flatten(0, 1)).view(2, TINY.clip_frames, -1)
    fused, _ = stage_two.fuse(stage_two.content(content), gru(latents.diff(dim=1)))
    logit, _ = stage_two.temporal_transformer(fused)

    whole = filled_detector()
    whole.style_encoder, whole.style_gru = encoder, gru
    whole.content, whole.style_attention = stage_two.content, stage_two.style_attention
    whole.temporal_transformer = stage_two.temporal_transformer
    torch.testing.assert_close(whole(content, style).logit, logit[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "module.encoder."])
def test_every_wrapping_of_the_psp_encoder_gives_the_same_network(prefix: str) -> None:
    plain = official(STYLE_ENCODER)
    wrapped = {prefix + name: value for name, value in plain.items()} | {"decoder.conv1.weight": torch.zeros(1)}
    crops = random_clips(TINY, clips=1)[1][0]

    found = load_style_encoder(wrapped, TINY.style_encoder)(crops)

    assert torch.equal(found, load_style_encoder(plain, TINY.style_encoder)(crops))


@pytest.mark.parametrize("unwrap", [False, True])
@pytest.mark.parametrize("wrapper", ["", "module."])
def test_stage_two_loads_with_and_without_its_prefixes(wrapper: str, unwrap: bool) -> None:
    plain = official(STAGE_TWO)
    wrapped = {wrapper + (name.removeprefix("resnet.") if unwrap else name): value for name, value in plain.items()}

    assert load_stage_two(wrapped, TINY).state_dict().keys() == load_stage_two(plain, TINY).state_dict().keys()
    loaded = load_stage_two(wrapped, TINY).state_dict()
    assert torch.equal(loaded["style_attention.w_q.weight"], plain["resnet.head.STA.w_q.weight"])
    assert torch.equal(
        loaded["content.s3.pathway0_res0.branch1_bn.0.bias"], plain["resnet.s3.pathway0_res0.branch1_bn.0.bias"]
    )


def test_batch_counters_may_be_there_or_not() -> None:
    state = official(STAGE_TWO)
    without = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    assert len(without) < len(state)

    assert load_stage_two(without, TINY).state_dict().keys() == load_stage_two(state, TINY).state_dict().keys()


def test_ftcn_is_stage_two_without_style_attention_and_judges_content_alone() -> None:
    state = official(STAGE_TWO)
    content, style = random_clips(TINY, clips=1)

    output = load_ftcn(content_only(state), TINY)(content, style)

    whole = load_stage_two(state, TINY)
    torch.testing.assert_close(output.logit, whole.temporal_transformer(whole.content(content))[0][:, 0])
    assert bool(output.flow_norms.isnan().all())


def test_a_style_attention_is_not_dropped_silently_by_the_content_only_network() -> None:
    with pytest.raises(PackError, match=r"resnet\.head\.STA\.w_q\.weight is left over"):
        load_ftcn(official(STAGE_TWO), TINY)


def test_what_is_missing_left_over_or_of_another_shape_is_named_as_the_file_names_it() -> None:
    state = official(STAGE_TWO)
    del state["resnet.s1.pathway0_stem.conv.weight"]
    state["resnet.head.STA.lp.bias"] = torch.zeros(3)
    state["resnet50.fc"] = torch.zeros(1)
    state["resnet.head.STA.w_q.bias"] = state["resnet.head.STA.w_q.bias"].to(torch.int64)

    assert refusal(state) == [
        "resnet.s1.pathway0_stem.conv.weight is missing",
        "resnet50.fc is left over",
        "resnet.head.STA.w_q.bias is integer [16], expected floating [16]",
        "resnet.head.STA.lp.bias is floating [3], expected floating [16]",
    ]


def test_one_parameter_under_two_wrappings_is_refused() -> None:
    state = official(STAGE_TWO)
    state["module.resnet.head.STA.lp.bias"] = state["resnet.head.STA.lp.bias"]

    assert refusal(state) == ["module.resnet.head.STA.lp.bias is left over"]


def test_a_gru_without_its_first_weight_is_refused_by_name() -> None:
    state = official(STYLE_GRU)
    del state["gru.weight_ih_l0"]

    with pytest.raises(PackError, match=r"gru\.weight_ih_l0 is missing"):
        load_style_gru(state)


@given(dropped=st.sets(st.sampled_from(sorted(official_shapes(STAGE_TWO))), min_size=1, max_size=5))
def test_exactly_the_dropped_parameters_are_reported_missing(dropped: set[str]) -> None:
    state = {name: value for name, value in STATE.items() if name not in dropped}
    expected = {name for name in dropped if "num_batches_tracked" not in name}

    if expected:
        assert {line.split()[0] for line in refusal(state)} == expected
    else:
        load_stage_two(state, TINY)


STATE = official(STAGE_TWO)
