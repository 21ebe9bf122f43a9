from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from styleflow.errors import PackError
from styleflow.models.random_parameters import random_parameters
from styleflow.models.weights import load_detector, write_random_pack
from styleflow.packs import COMPONENTS, CONTENT_ONLY, Pack, read_pack, sha256_of, write_card
from tests.models.named_values import relative_error
from tests.models.small_networks import TINY, random_clips


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return write_random_pack(tmp_path, TINY, seed=3)


def repacked(pack: Pack, change: Callable[[dict[str, Tensor]], object]) -> Pack:
    """The pack with other parameters and a card that vouches for them."""
    state = load_file(pack.weights_path)
    change(state)
    save_file(state, pack.weights_path)
    return vouched(pack)


def vouched(pack: Pack, **changes: object) -> Pack:
    sha256 = sha256_of(pack.weights_path)
    size = pack.weights_path.stat().st_size
    weights = pack.card.weights.model_copy(update={"sha256": sha256, "size_bytes": size})
    card = pack.card.model_copy(update={"weights": weights, **changes})
    write_card(card, pack.directory)
    return read_pack(pack.directory)


def test_a_loaded_network_is_the_one_that_was_written(pack: Pack) -> None:
    detector = load_detector(pack)

    assert not detector.training
    assert not any(parameter.requires_grad for parameter in detector.parameters())
    written = random_parameters(TINY, seed=3)
    loaded = detector.state_dict()
    assert loaded.keys() == written.keys()
    assert all(torch.equal(loaded[name], written[name]) for name in written)


def test_a_network_arranged_for_serving_says_the_same(pack: Pack) -> None:
    clips = random_clips(TINY, clips=2)
    plain, serving = load_detector(pack)(*clips), load_detector(pack, serving=True)(*clips)

    assert relative_error(serving.logit, plain.logit) <= 1e-4
    assert relative_error(serving.flow_norms, plain.flow_norms) <= 1e-4
    assert relative_error(serving.attention, plain.attention) <= 1e-4


def test_a_random_pack_says_that_it_was_not_trained(pack: Pack) -> None:
    assert pack.card.calibration is None
    assert pack.card.training.statement == "random weights: not trained"
    assert not pack.card.training.trained
    assert pack.card.components == COMPONENTS
    assert pack.card.model == "styleflow-custom@random-3"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = write_random_pack(tmp_path / "first", TINY, seed=3).card.weights.sha256
    again = write_random_pack(tmp_path / "again", TINY, seed=3).card.weights.sha256
    other = write_random_pack(tmp_path / "other", TINY, seed=4).card.weights.sha256

    assert first == again
    assert first != other


def test_an_existing_pack_is_verified_and_kept(pack: Pack) -> None:
    before = pack.weights_path.stat().st_mtime_ns

    assert write_random_pack(pack.directory.parent, TINY, seed=3) == pack
    assert pack.weights_path.stat().st_mtime_ns == before
    pack.weights_path.write_bytes(b"altered")
    with pytest.raises(PackError, match="altered"):
        write_random_pack(pack.directory.parent, TINY, seed=3)


def test_several_threads_that_make_one_pack_at_once_get_one_pack(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        packs = list(threads.map(lambda _: write_random_pack(tmp_path, TINY, seed=3), range(4)))

    assert all(pack == packs[0] for pack in packs)
    assert [path.name for path in tmp_path.iterdir()] == ["styleflow-custom-random-3"]


def test_nothing_but_the_pack_is_left_in_the_folder(pack: Pack) -> None:
    assert [path.name for path in pack.directory.parent.iterdir()] == ["styleflow-custom-random-3"]


def test_a_random_network_hears_its_style_input(pack: Pack) -> None:
    detector = load_detector(pack)
    content, style = random_clips(TINY, clips=1)
    _, other_style = random_clips(TINY, clips=1, seed=1)

    assert detector(content, style).logit != detector(content, other_style).logit


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused_with_what_and_where(pack: Pack, place: float, bit: int) -> None:
    sound = pack.weights_path.read_bytes()
    altered = bytearray(sound)
    altered[int(place * len(sound))] ^= 1 << bit
    pack.weights_path.write_bytes(altered)
    try:
        with pytest.raises(PackError, match=r"styleflow-custom-random-3.*SHA-256 of model\.safetensors") as caught:
            load_detector(pack)
    finally:
        pack.weights_path.write_bytes(sound)
    assert str(pack.directory.parent) not in str(caught.value)


def test_a_missing_a_left_over_and_a_misshapen_parameter_are_all_named(pack: Pack) -> None:
    def spoil(state: dict[str, Tensor]) -> None:
        del state["content.s2.pathway0_res0.branch1.weight"]
        state["style_gru.dense.3.bias"] = torch.zeros(1)
        state["style_gru.bn.weight"] = torch.zeros(31)

    with pytest.raises(PackError) as caught:
        load_detector(repacked(pack, spoil))

    assert caught.value.details["differences"] == [
        "content.s2.pathway0_res0.branch1.weight is missing",
        "style_gru.dense.3.bias is left over",
        "style_gru.bn.weight is floating [31], expected floating [7]",
    ]


def test_integers_in_place_of_weights_are_refused(pack: Pack) -> None:
    def spoil(state: dict[str, Tensor]) -> None:
        state["style_attention.lp.bias"] = state["style_attention.lp.bias"].to(torch.int32)

    with pytest.raises(PackError, match=r"style_attention\.lp\.bias is integer"):
        load_detector(repacked(pack, spoil))


def test_a_long_list_of_differences_is_cut_in_the_message_and_whole_in_the_details(pack: Pack) -> None:
    with pytest.raises(PackError, match=r"; and \d+ more\.$") as caught:
        load_detector(repacked(pack, lambda state: [state.pop(name) for name in list(state)[:20]]))

    assert len(caught.value.details["differences"]) == 20


def test_a_file_that_is_not_safetensors_is_refused_even_when_the_card_vouches_for_it(pack: Pack) -> None:
    torch.save({"weights": torch.zeros(3)}, pack.weights_path)

    with pytest.raises(PackError, match="not a readable safetensors file"):
        load_detector(vouched(pack))


def test_a_truncated_file_is_refused_even_when_the_card_vouches_for_it(pack: Pack) -> None:
    pack.weights_path.write_bytes(pack.weights_path.read_bytes()[:-100])

    with pytest.raises(PackError, match="not a readable safetensors file"):
        load_detector(vouched(pack))


def test_a_card_that_denies_the_style_branch_of_its_file_is_refused(pack: Pack) -> None:
    with pytest.raises(PackError, match=r"style_attention\.lp\.bias is left over"):
        load_detector(vouched(pack, components=CONTENT_ONLY))


def test_a_network_without_its_style_branch_is_not_served_under_the_full_networks_name(pack: Pack) -> None:
    content_only = repacked(pack, lambda state: [state.pop(name) for name in list(state) if name.startswith("style_")])

    with pytest.raises(PackError, match=r"style_attention\.\S+ is missing"):
        load_detector(content_only)


def test_half_a_style_branch_makes_no_pack(pack: Pack) -> None:
    with pytest.raises(PackError, match=r"it lacks style_encoder$|it lacks style_encoder\."):
        vouched(pack, components=COMPONENTS[1:])


def test_sizes_that_describe_no_network_are_refused(pack: Pack) -> None:
    with pytest.raises(PackError, match="describes no network"):
        load_detector(vouched(pack, sizes={"content": {}}))


def test_preprocessing_for_another_network_is_refused(pack: Pack) -> None:
    other = pack.card.preprocessing.model_copy(update={"style_size": 256})

    with pytest.raises(PackError, match="other sizes than its network takes"):
        load_detector(vouched(pack, preprocessing=other))


def test_a_pack_of_that_name_with_other_sizes_is_refused(pack: Pack) -> None:
    bigger = TINY.to_json() | {"clip_frames": 16}
    vouched(pack, sizes=bigger, preprocessing=pack.card.preprocessing.model_copy(update={"clip_frames": 16}))

    with pytest.raises(PackError, match="exists with other sizes"):
        write_random_pack(pack.directory.parent, TINY, seed=3)


def test_the_network_is_its_own_once_loaded(pack: Pack, tmp_path: Path) -> None:
    detector = load_detector(pack)
    clips = random_clips(TINY, clips=1)
    before = detector(*clips).logit

    shutil.rmtree(pack.directory)

    assert torch.equal(detector(*clips).logit, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_accelerator_gives_the_same_logit_as_the_cpu(pack: Pack) -> None:
    content, style = random_clips(TINY, clips=2)
    expected = load_detector(pack)(content, style).logit

    found = load_detector(pack, "cuda")(content.cuda(), style.cuda()).logit.cpu()

    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
