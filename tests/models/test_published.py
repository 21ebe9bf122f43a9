from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from styleflow.errors import PackError
from styleflow.models.published import (
    STAGE_TWO,
    STYLE_ENCODER,
    STYLE_GRU,
    PublishedPart,
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


@pytest.mark.parametrize("name", ["gru.weight_ih_l0", "bn.weight"])
def test_a_gru_without_features_or_steps_is_refused_by_name(name: str) -> None:
    state = official(STYLE_GRU)
    state[name] = state[name][..., :0]

    with pytest.raises(PackError, match=rf"StyleGRU's state dict does not fit: {re.escape(name)} .*has no values"):
        load_style_gru(state)


def test_a_head_of_stage_1_without_neurons_is_refused_by_name() -> None:
    state = official(STYLE_GRU)
    state["dense.1.fn.net.0.weight"] = state["dense.1.fn.net.0.weight"][:0]

    with pytest.raises(PackError, match=r"dense\.1\.fn\.net\.0\.weight .*has no values"):
        load_style_gru_classifier(state)


LOADERS: dict[str, tuple[PublishedPart, Callable[[Any], nn.Module]]] = {
    "load_style_encoder": (STYLE_ENCODER, lambda state: load_style_encoder(state, TINY.style_encoder)),
    "load_style_gru": (STYLE_GRU, load_style_gru),
    "load_style_gru_classifier": (STYLE_GRU, load_style_gru_classifier),
    "load_stage_two": (STAGE_TWO, lambda state: load_stage_two(state, TINY)),
}


@pytest.mark.parametrize(("part", "load"), LOADERS.values(), ids=LOADERS)
def test_the_parameters_of_a_network_that_is_being_trained_stay_as_they_were(
    part: PublishedPart, load: Callable[[Any], nn.Module]
) -> None:
    floating = {name: value for name, value in official(part).items() if value.is_floating_point()}
    trained = {name: nn.Parameter(value) for name, value in floating.items()}

    network = load(trained)

    assert all(parameter.requires_grad for parameter in trained.values())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    memory = {parameter.data_ptr() for parameter in trained.values()}
    assert {parameter.data_ptr() for parameter in network.parameters()} <= memory, "shared, not copied"


@pytest.mark.parametrize(("part", "load"), LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({17: torch.zeros(1)}, "the key 17 is no name"),
        ({b"gru.weight_ih_l0": torch.zeros(1)}, "the key b'gru.weight_ih_l0' is no name"),
        ({"epoch": 12}, "epoch is no tensor"),
    ],
)
def test_what_is_no_name_or_no_tensor_is_refused_and_named(
    part: PublishedPart, load: Callable[[Any], nn.Module], entry: dict[Any, Any], told: str
) -> None:
    with pytest.raises(PackError, match=f"{part.title}'s state dict does not fit") as caught:
        load({**official(part), **entry})
    assert caught.value.details["differences"] == [told]


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(PackError, match="it is no mapping but list"):
        load_style_gru([("bn.weight", torch.zeros(1))])  # type: ignore[arg-type]  # from Python anything can be given


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("load_style_encoder", "anything.num_batches_tracked"),
        ("load_style_encoder", "encoder.body.0.num_batches_tracked"),
        ("load_style_encoder", "encoder.decoder.conv1.weight"),
        ("load_style_encoder", "dense.3.weight"),
        ("load_style_gru", "gru.num_batches_tracked"),
        ("load_style_gru", "dense.3.weight_scale"),
        ("load_style_gru", "dense.1.fn.net.0.running_mean"),
        ("load_style_gru", "dense.4.weight"),
        ("load_style_gru", "decoder.conv1.weight"),
        ("load_stage_two", "resnet.s5.pathway0_res0.branch1_bn.num_batches_tracked"),
        ("load_stage_two", "decoder.conv1.weight"),
        ("load_stage_two", "dense.3.bias"),
    ],
)
def test_what_only_looks_like_something_that_serving_does_not_need_is_left_over(name: str, key: str) -> None:
    part, load = LOADERS[name]

    with pytest.raises(PackError) as caught:
        load({**official(part), key: torch.zeros(())})
    assert caught.value.details["differences"] == [f"{key} is left over"]


def test_a_batch_counter_under_two_wrappings_is_refused() -> None:
    state = official(STYLE_GRU)
    state["module.model.bn.num_batches_tracked"] = state["bn.num_batches_tracked"]

    with pytest.raises(PackError, match=r"module\.model\.bn\.num_batches_tracked is left over"):
        load_style_gru(state)


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_all_of_psps_generator_is_ignored_its_batch_counters_too(wrapper: str) -> None:
    state = {f"{wrapper}encoder.{name}": value for name, value in official(STYLE_ENCODER).items()}
    generator = ("decoder.style.1.weight", "decoder.noises.noise_0", "decoder.bn.num_batches_tracked")

    load_style_encoder(state | {wrapper + name: torch.zeros(1) for name in generator}, TINY.style_encoder)


@given(dropped=st.sets(st.sampled_from(sorted(official_shapes(STAGE_TWO))), min_size=1, max_size=5))
def test_exactly_the_dropped_parameters_are_reported_missing(dropped: set[str]) -> None:
    state = {name: value for name, value in STATE.items() if name not in dropped}
    expected = {name for name in dropped if "num_batches_tracked" not in name}

    if expected:
        assert {line.split()[0] for line in refusal(state)} == expected
    else:
        load_stage_two(state, TINY)


STATE = official(STAGE_TWO)
