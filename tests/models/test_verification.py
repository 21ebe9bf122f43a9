from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from styleflow.errors import PackError
from styleflow.models import weights
from styleflow.models.random_parameters import random_parameters
from styleflow.models.sizes import COMPACT
from styleflow.models.verification import check, golden_clip, golden_logit
from styleflow.models.weights import load_detector, write_pack, write_random_pack
from styleflow.packs import GoldenClip, Pack, read_pack, verify_pack
from tests.models.small_networks import TINY


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return write_random_pack(tmp_path, TINY, seed=3)


def recorded(pack: Pack) -> GoldenClip:
    assert pack.card.golden is not None
    return pack.card.golden


def test_the_golden_clip_is_the_same_on_every_machine(pack: Pack) -> None:
    content, style = golden_clip(pack.card.preprocessing.model_copy(update={"clip_frames": 32}))

    assert (content.shape, style.shape) == ((1, 3, 32, 32, 32), (1, 32, 3, 32, 32))
    pixels = ((style + 1) * 127.5).round().to(torch.uint8)
    assert hashlib.sha256(pixels.numpy().tobytes()).hexdigest() == STYLE_PIXELS
    assert style.min().item() >= -1
    assert style.max().item() <= 1


def test_its_style_drifts_so_that_each_frame_is_close_to_the_last_and_not_the_same(pack: Pack) -> None:
    _, style = golden_clip(pack.card.preprocessing)

    steps = style.diff(dim=1).abs().flatten(2).mean(dim=2)
    assert steps.min().item() > 0
    assert steps.max().item() < style.abs().mean().item() / 2


def test_a_random_pack_records_the_logit_that_it_gives_and_its_tolerances(pack: Pack) -> None:
    found = golden_logit(load_detector(pack), pack.card.preprocessing)

    assert found == pytest.approx(recorded(pack).logit, abs=1e-5)
    assert pack.card.tolerance["float32"] <= 1e-3
    assert check(load_detector(pack), pack.card, "float32") == found


def test_bfloat16_is_checked_against_its_own_tolerance(tmp_path: Path) -> None:
    pack = write_random_pack(tmp_path, COMPACT, seed=1)
    if "bfloat16" not in pack.card.tolerance:
        pytest.skip("this CPU has no bfloat16")

    logit = check(load_detector(pack, "cpu", "bfloat16"), pack.card, "bfloat16")

    assert logit != recorded(pack).logit
    assert pack.card.tolerance["float32"] < pack.card.tolerance["bfloat16"] < 0.2


@pytest.mark.parametrize("part", ["style_encoder", "style_gru", "style_attention", "content", "temporal_transformer"])
def test_a_component_that_is_not_the_one_recorded_is_found(pack: Pack, part: str) -> None:
    detector = load_detector(pack)
    with torch.no_grad():
        for parameter in getattr(detector, part).parameters():
            parameter.mul_(1.05)

    with pytest.raises(PackError, match=r"does not give the golden clip's logit in float32: found .*, its card says"):
        check(detector, pack.card, "float32")


@pytest.mark.parametrize("factor", [0.99, 1.01, -1.0])
def test_a_card_whose_logit_was_tampered_with_is_refused(pack: Pack, factor: float) -> None:
    golden = recorded(pack).model_copy(update={"logit": recorded(pack).logit * factor + 0.01})

    with pytest.raises(PackError, match="does not give the golden clip's logit"):
        check(load_detector(pack), pack.card.model_copy(update={"golden": golden}), "float32")


def test_a_logit_that_is_no_number_is_refused(pack: Pack) -> None:
    detector = load_detector(pack)
    with torch.no_grad():
        detector.temporal_transformer.cls_token.fill_(torch.nan)

    with pytest.raises(PackError, match="found nan"):
        check(detector, pack.card, "float32")


def test_a_precision_without_a_recorded_tolerance_is_refused(pack: Pack) -> None:
    card = pack.card.model_copy(update={"tolerance": {"float32": 1e-4}})

    with pytest.raises(PackError, match=r"must not be served in bfloat16: it records tolerances for float32\.$"):
        check(load_detector(pack), card, "bfloat16")


def test_a_pack_without_a_golden_clip_is_refused(pack: Pack) -> None:
    with pytest.raises(PackError, match="records no golden clip"):
        check(load_detector(pack), pack.card.model_copy(update={"golden": None}), "float32")


STYLE_PIXELS = "c7cf14cc122a4d588a5715822bf4c41b412fd4f82aa407732fb99ee4bc69fe5a"


def edited(pack: Pack, **changes: object) -> Pack:
    card = pack.card.model_dump(mode="json") | changes
    (pack.directory / "card.json").write_text(json.dumps(card))
    return read_pack(pack.directory)


def test_a_card_that_names_a_size_which_its_network_has_not_is_refused(pack: Pack) -> None:
    with pytest.raises(PackError, match="says that its size is paper; its network is custom"):
        load_detector(edited(pack, size="paper"))


def test_a_tolerance_that_would_let_anything_pass_is_refused(pack: Pack) -> None:
    network = load_detector(pack)

    with pytest.raises(PackError, match="tolerance of 1e\\+30"):
        check(network, edited(pack, tolerance={"float32": 1e30}).card, "float32")


def test_a_card_with_another_number_of_bytes_is_refused(pack: Pack) -> None:
    weights = pack.card.weights.model_dump() | {"size_bytes": 5}

    with pytest.raises(PackError, match=r"has .* bytes, its card says 5"):
        load_detector(edited(pack, weights=weights))


@pytest.mark.parametrize(
    ("part", "name", "value"), [("style_gru", "hidden", 8 * 10**9), ("transformer", "mlp", 10**18)]
)
def test_absurd_sizes_are_refused_in_a_sentence(pack: Pack, part: str, name: str, value: int) -> None:
    sizes = json.loads(json.dumps(pack.card.model_dump(mode="json")["sizes"]))
    sizes[part][name] = value

    with pytest.raises(PackError, match="describes no network"):
        load_detector(edited(pack, sizes=sizes))


def test_bytes_that_change_while_they_are_read_are_refused(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(pack: Pack) -> None:
        verify_pack(pack)
        other = pack.directory / "other"
        other.write_bytes(pack.weights_path.read_bytes())
        other.replace(pack.weights_path)

    monkeypatch.setattr(weights, "verify_pack", swapped)

    with pytest.raises(PackError, match="changed while it was read"):
        load_detector(pack)


def test_weights_whose_served_form_differs_from_the_published_one_make_no_pack(tmp_path: Path) -> None:
    """A norm's mean so far out that folding it loses what the network says."""
    state = random_parameters(TINY, seed=1)
    for name in state:
        if name.startswith("style_encoder.") and name.endswith("res_layer.4.running_mean"):
            state[name] = state[name] + 1e8
    card = write_random_pack(tmp_path / "plain", TINY, seed=1).card

    with pytest.raises(PackError, match="form in which it would be served"):
        write_pack(tmp_path / "packs", state, lambda file: card.model_copy(update={"weights": file}))
