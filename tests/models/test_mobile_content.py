from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from styleflow.errors import PackError
from styleflow.models import mobile_content
from styleflow.models.mobile_content import MobileContentNetwork, load_trunk
from styleflow.models.random_parameters import random_parameters
from styleflow.models.sizes import COMPACT, SMALL, MobileContentSizes
from styleflow.models.weights import load_detector, write_random_pack
from tests.models.named_values import drawn, filled, relative_error, shapes_of
from tests.models.small_networks import TINY_MOBILE, filled_detector, random_clips

SIZES = MobileContentSizes(input_size=32, width=16)
BLOCKS = [(1, 16, 1)] + [
    (expansion, channels, stride if index == 0 else 1)
    for expansion, channels, count, stride in [(6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    for index in range(count)
]
"""Expansion, channels and stride of blocks 1 to 13, from Table 2 of the paper."""
OUTPUTS = [
    *(32, 32, 16, 96, 96, 24, 144, 144, 24, 144, 144, 32, 192, 192, 32, 192, 192, 32, 192, 192, 64),
    *(384, 384, 64, 384, 384, 64, 384, 384, 64, 384, 384, 96, 576, 576, 96, 576, 576, 96, 576),
]
"""Channels that conv00 to conv39 of the file of ImageNet weights give."""


def imagenet_like(network: MobileContentNetwork, *, seed: int = 7) -> dict[str, Tensor]:
    """By the names of the file, in its half precision, with two of the convolutions that stand behind the trunk."""
    behind = {"conv40.weight": (576, 1, 3, 3), "conv52.bias": (1001,)}
    state = filled(shapes_of(network.trunk) | behind, seed=seed)
    return {name: value.half() for name, value in state.items()}


def filled_network() -> MobileContentNetwork:
    network = MobileContentNetwork(SIZES)
    network.load_state_dict(filled(shapes_of(network)))
    return network.eval().requires_grad_(False)


def same_padded(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """A convolution as TensorFlow defines SAME: ceil(side / stride) outputs, the odd pixel of the border behind."""
    kernel, side = weight.shape[-1], x.shape[-1]
    border = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    before, after = border // 2, border - border // 2
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    padded = functional.pad(x, (before, after, before, after))
    return functional.conv2d(padded, weight, bias, stride=stride, groups=groups)


def by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The trunk from its description."""
    numbers = iter(range(len(OUTPUTS)))

    def convolved(x: Tensor, stride: int = 1) -> Tensor:
        name = f"conv{next(numbers):02}"
        return same_padded(x, state[f"{name}.weight"], state[f"{name}.bias"], stride)

    x = convolved(x, 2).clamp(0, 6)
    for expansion, channels, stride in BLOCKS:
        inner = convolved(x).clamp(0, 6) if expansion > 1 else x
        out = convolved(convolved(inner, stride).clamp(0, 6))
        x = x + out if stride == 1 and x.shape[1] == channels else out
    return convolved(x).clamp(0, 6)


def test_the_trunk_is_mobilenet_v2_by_hand_up_to_the_expansion_of_block_14() -> None:
    network = MobileContentNetwork(SIZES).eval().requires_grad_(False)
    state = {name: 2 * value for name, value in filled(shapes_of(network.trunk)).items()}
    network.trunk.load_state_dict(state)
    pictures = drawn("pictures", (2, 3, 64, 64))

    found = network.trunk(pictures)

    assert found.shape == (2, 576, 4, 4)
    assert found.min().item() == 0
    assert relative_error(found, by_hand(state, pictures)) <= 1e-4
    assert relative_error(network.trunk(pictures.flip(3)).flip(3), found) > 1e-2


def test_the_trunk_learns_by_the_gradients_of_the_convolutions_by_hand() -> None:
    network = MobileContentNetwork(SIZES)
    state = {name: 2 * value for name, value in filled(shapes_of(network.trunk)).items()}
    network.trunk.load_state_dict(state)
    pictures = drawn("pictures", (2, 3, 64, 64))
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}

    network.trunk(pictures).pow(2).sum().backward()
    by_hand(leaves, pictures).pow(2).sum().backward()

    errors = {name: relative_error(at.grad, leaves[name].grad) for name, at in network.trunk.named_parameters()}
    assert max(errors.values()) <= 1e-4, errors


def test_its_parameters_are_those_of_the_file_of_imagenet_weights() -> None:
    shapes = shapes_of(MobileContentNetwork(COMPACT.content).trunk)

    assert list(shapes) == [f"conv{n:02}.{kind}" for n in range(len(OUTPUTS)) for kind in ("weight", "bias")]
    assert [shape[0] for name, shape in shapes.items() if name.endswith("bias")] == OUTPUTS


def test_tokens_are_one_for_two_frames_float32_and_as_wide_as_asked() -> None:
    network = filled_network()
    clip = drawn("clip", (3, 3, 8, 32, 32))

    tokens = network(clip)

    assert (tokens.shape, tokens.dtype) == ((3, 4, 16), torch.float32)
    assert network.maps(clip[:, :, 0]).shape == (3, 16, 2, 2)


def test_only_every_second_frame_is_looked_at() -> None:
    network = filled_network()
    clip = drawn("clip", (1, 3, 8, 32, 32))
    unseen, seen = clip.clone(), clip.clone()
    unseen[:, :, 1::2] += 1
    seen[:, :, 4] += 1

    assert torch.equal(network(unseen), network(clip))
    assert (network(seen) - network(clip)).abs().amax(dim=(0, 2)).gt(1e-4).tolist() == [False, True, True, True]


def test_before_training_frames_do_not_see_each_other() -> None:
    network = filled_network()
    network.temporal.load_state_dict(MobileContentNetwork(SIZES).temporal.state_dict())
    clip = drawn("clip", (1, 3, 8, 32, 32))
    changed = clip.clone()
    changed[:, :, 4] += 1

    moved = (network(changed) - network(clip)).abs().amax(dim=(0, 2))

    assert (moved > 1e-4).tolist() == [False, False, True, False]


def test_tokens_see_how_much_a_map_varies_and_not_where() -> None:
    network = filled_network()
    maps = drawn("maps", (1, 4, 16, 2, 3))
    flat = maps.mean(dim=(3, 4), keepdim=True).expand_as(maps)

    torch.testing.assert_close(network.tokens_of(maps.flip(3)), network.tokens_of(maps))
    assert relative_error(network.tokens_of(flat), network.tokens_of(maps)) > 1e-2


@pytest.mark.parametrize("learning", [False, True])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_frames_put_through_in_parts_give_the_same_maps(
    at_once: int, learning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = filled_network()
    frames = drawn("frames", (4, 3, 32, 32))
    expected = network.maps(frames)
    sizes: list[int] = []
    network.trunk.register_forward_hook(lambda _module, given, _output: sizes.append(len(given[0])))
    monkeypatch.setitem(mobile_content.BYTES_AT_ONCE, "cpu", at_once * 96 * 16 * 16 * 4)

    with torch.set_grad_enabled(learning):
        found = network.maps(frames)

    assert sizes == {1: [1, 1, 1, 1], 3: [3, 1], 100: [4]}[at_once]
    assert relative_error(found, expected) <= 1e-5


def test_a_picture_that_is_the_same_everywhere_gives_gradients_that_are_numbers() -> None:
    network = MobileContentNetwork(SIZES)

    network(torch.zeros(1, 3, 4, 32, 32)).pow(2).sum().backward()
    network.tokens_of(network.projection.bias.view(1, 1, -1, 1, 1).expand(1, 2, 16, 2, 2)).sum().backward()

    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


def test_the_trunk_is_filled_from_half_precision_and_what_stands_behind_it_is_ignored() -> None:
    network = MobileContentNetwork(SIZES)
    state = imagenet_like(network)

    load_trunk(network, state)

    found = network.trunk.state_dict()
    assert all(torch.equal(value, state[name].float()) for name, value in found.items())
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in network.trunk.parameters())


def test_a_file_that_is_not_of_this_trunk_is_refused_and_the_network_left_alone() -> None:
    network = MobileContentNetwork(SIZES)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = imagenet_like(network)
    missing = {name: value for name, value in state.items() if name != "conv39.bias"}
    unlike = state | {"conv02.weight": state["conv02.weight"][:, :16]}
    left_over = state | {"conv53.weight": state["conv02.weight"]}

    for wrong, named in (
        (missing, "conv39.bias is missing"),
        (unlike, r"conv02.weight is floating \[16, 16, 1, 1\], expected floating \[16, 32, 1, 1\]"),
        (left_over, "conv53.weight is left over"),
    ):
        with pytest.raises(PackError, match=named) as caught:
            load_trunk(network, wrong)
        assert len(caught.value.details["differences"]) == 1
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_parameters_keep_a_signal_in_its_size_and_let_the_content_into_the_logit(seed: int) -> None:
    detector = filled_detector(TINY_MOBILE)
    detector.load_state_dict(random_parameters(TINY_MOBILE, seed))
    content, style = random_clips(TINY_MOBILE, clips=2)

    power = detector.content.trunk(content[:, :, 0]).pow(2).mean().sqrt().item()
    logit, other = detector(content, style).logit, detector(content.flip(0), style).logit

    assert 0.05 < power < 3
    assert logit.abs().max().item() < 20
    assert (logit - other).abs().max().item() > 1e-3


def test_a_pack_says_how_the_pictures_of_its_backbone_are_normalised(tmp_path: Path) -> None:
    mobile = write_random_pack(tmp_path, TINY_MOBILE, seed=1).card.preprocessing

    assert (mobile.content_mean, mobile.content_std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert SMALL.content.std == (0.229, 0.224, 0.225)


def test_there_is_nothing_to_fold_for_serving(tmp_path: Path) -> None:
    pack = write_random_pack(tmp_path, TINY_MOBILE, seed=1)

    plain, served = (load_detector(pack, serving=serving).content.state_dict() for serving in (False, True))

    assert plain.keys() == served.keys()
    assert all(torch.equal(served[name], value) for name, value in plain.items())


def test_a_network_that_begins_from_scratch_lets_the_picture_through() -> None:
    torch.manual_seed(0)
    network = MobileContentNetwork(MobileContentSizes(input_size=64, width=16))
    frames = torch.rand(4, 3, 64, 64) * 2 - 1

    with torch.inference_mode():
        maps = network.trunk(frames)

    assert 0.02 < maps.std() < 5
    assert (maps[0] - maps[1]).abs().mean() > 0.05 * maps.std()
