from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from styleflow.errors import PackError
from styleflow.models.checkpoints import Imported, PartTaken, Sources, Wishes, import_checkpoints, inferred_level
from styleflow.models.detector import DetectorSizes
from styleflow.models.published import STAGE_TWO, STYLE_GRU
from styleflow.models.random_parameters import random_parameters
from styleflow.models.sizes import PAPER, FlowLevel
from styleflow.models.verification import check
from styleflow.models.weights import load_detector, write_pack, write_random_pack
from styleflow.packs import COMPONENTS, CONTENT_ONLY, Catalog, sha256_of
from tests.models.official_states import content_only, official, write_checkpoints
from tests.models.small_networks import TINY, random_clips, tiny

LEVELS: tuple[FlowLevel, ...] = get_args(FlowLevel)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_checkpoints(tmp_path / "checkpoints")


def imported(
    tmp_path: Path, files: dict[str, Path], sizes: DetectorSizes = TINY, wishes: Wishes | None = None
) -> Imported:
    return import_checkpoints(tmp_path / "packs", Sources(**files), sizes, wishes)


def refusal(tmp_path: Path, files: dict[str, Path], wishes: Wishes | None = None) -> PackError:
    with pytest.raises(PackError) as caught:
        imported(tmp_path, files, TINY, wishes)
    assert not list((tmp_path / "packs").glob("*")), "a refused import leaves nothing behind"
    assert str(tmp_path) not in str(caught.value)
    return caught.value


def altered(path: Path, change: dict[str, Tensor | None]) -> None:
    """Put other entries into a file's state dict; None takes one out."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    state = content.get("state_dict") or content["model"]
    for key, value in change.items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    torch.save(content, path)


def only_content(files: dict[str, Path]) -> dict[str, Path]:
    torch.save(content_only(official(STAGE_TWO)), files["stage_two"])
    return {"stage_two": files["stage_two"]}


def test_three_checkpoints_become_the_network_that_they_hold(tmp_path: Path, files: dict[str, Path]) -> None:
    made = imported(tmp_path, files, TINY, Wishes(version="1"))
    card, detector = made.pack.card, load_detector(made.pack)

    gru, stage_two = official(STYLE_GRU), official(STAGE_TWO)
    state = detector.state_dict()
    assert torch.equal(state["style_gru.gru.weight_hh_l1_reverse"], gru["gru.weight_hh_l1_reverse"])
    assert torch.equal(state["style_attention.lp.weight"], stage_two["resnet.head.STA.lp.weight"])
    assert (card.model, card.components, made.level) == ("styleflow-custom@1", COMPONENTS, "total")
    assert check(detector, card, "float32") == pytest.approx(card.golden.logit if card.golden else None)


def test_the_card_says_where_everything_came_from(tmp_path: Path, files: dict[str, Path]) -> None:
    card = imported(tmp_path, files, TINY, Wishes(style_framing="ftcn256", default=True)).pack.card

    assert {source.name: (source.sha256, source.components) for source in card.sources} == {
        "style_encoder.pt": (sha256_of(files["style_encoder"]), ("style_encoder",)),
        "style_gru.pt": (sha256_of(files["style_gru"]), ("style_gru",)),
        "stage_two.pt": (sha256_of(files["stage_two"]), ("style_attention", "content", "temporal_transformer")),
    }
    assert (card.calibration, card.training.trained, card.default) == (None, True, True)
    assert card.preprocessing.style_framing == "ftcn256"
    assert any("non-commercial" in licence for licence in card.licences)
    assert card.version.startswith("imported-")


def test_the_rows_say_what_was_taken_and_what_serving_does_not_need(tmp_path: Path, files: dict[str, Path]) -> None:
    encoder, gru, _ = imported(tmp_path, files).parts

    assert encoder.ignored["StyleGAN2, which turns latents back into pictures"] == 1
    assert (encoder.beside, gru.beside) == (("latent_avg", "opts"), ("epoch",))
    assert gru.ignored["the head of stage 1"] == 6
    assert gru.ignored["batch counters of training"] == 1
    assert gru.taken == 1 + 16 + 4
    assert (encoder.missing, encoder.left_over, encoder.unlike) == ((), (), ())


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_can_be_asked_for_and_gives_a_network_of_that_level(tmp_path: Path, level: FlowLevel) -> None:
    files = write_checkpoints(tmp_path / "checkpoints", tiny(level))

    made = imported(tmp_path, files, TINY, Wishes(level=level))

    assert made.level == level
    sizes = DetectorSizes.from_json(made.pack.card.sizes)
    assert sizes == tiny(level)
    detector = load_detector(made.pack)
    assert bool(detector(*random_clips(TINY, clips=1)).logit.isfinite())


@pytest.mark.parametrize(("level", "width"), [*zip(LEVELS, (1536, 2048, 5632, 7680, 3584, 9216), strict=True)])
def test_at_paper_size_the_level_follows_from_the_width_of_the_input(level: FlowLevel, width: int) -> None:
    assert inferred_level(PAPER, width, "gru.pt") == level


def test_a_width_of_two_levels_or_none_is_refused(tmp_path: Path) -> None:
    files = write_checkpoints(tmp_path / "checkpoints", tiny("fine"))

    assert "fits fine and coarse+: say which level" in str(refusal(tmp_path, files))
    with pytest.raises(PackError, match=r"the width of no level \(coarse 1536, "):
        inferred_level(PAPER, 100, "gru.pt")


def test_a_level_that_the_gru_does_not_read_is_refused_with_both_shapes(tmp_path: Path, files: dict[str, Path]) -> None:
    error = refusal(tmp_path, files, Wishes(level="coarse"))

    assert "gru.weight_ih_l0 is floating [24, 36], expected floating [24, 12]" in str(error)


def test_a_content_only_checkpoint_gives_a_pack_that_says_so(tmp_path: Path, files: dict[str, Path]) -> None:
    made = imported(tmp_path, only_content(files))
    detector = load_detector(made.pack)
    content, style = random_clips(TINY, clips=1)

    assert (made.pack.card.components, made.pack.card.content_only, made.level) == (CONTENT_ONLY, True, None)
    assert made.pack.card.name == "content-custom"
    assert not any(name.startswith("style_") for name in detector.state_dict())
    assert torch.equal(detector(content, style).logit, detector(content, -style).logit)


@pytest.mark.parametrize("absent", ["style_encoder", "style_gru"])
def test_half_a_style_branch_is_refused(tmp_path: Path, files: dict[str, Path], absent: str) -> None:
    del files[absent]

    assert "The style branch needs the" in str(refusal(tmp_path, files))


def test_style_attention_without_a_style_branch_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    error = refusal(tmp_path, {"stage_two": files["stage_two"]})

    assert "has style attention, so the pack needs a pSp encoder and a StyleGRU" in str(error)


def test_a_style_branch_without_style_attention_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    torch.save(content_only(official(STAGE_TWO)), files["stage_two"])

    assert "stage_two.pt: resnet.head.STA.w_q.weight is missing" in str(refusal(tmp_path, files))


def test_everything_that_does_not_fit_is_listed_by_file_before_anything_is_written(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    altered(files["style_encoder"], {"encoder.latlayer1.bias": None})
    altered(files["style_gru"], {"module.model.gru.bias_hh_l2": torch.zeros(24)})
    altered(files["stage_two"], {"module.resnet.head.STA.lp.bias": torch.zeros(2)})

    error = refusal(tmp_path, files)

    assert error.details["differences"] == [
        "style_encoder.pt: latlayer1.bias is missing",
        "style_gru.pt: module.model.gru.bias_hh_l2 is left over",
        "stage_two.pt: module.resnet.head.STA.lp.bias is floating [2], expected floating [16]",
    ]
    rows: tuple[PartTaken, ...] = error.details["parts"]
    assert [len(row.missing) + len(row.left_over) + len(row.unlike) for row in rows] == [1, 1, 1]


def test_files_given_the_wrong_way_round_are_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    files["style_encoder"], files["style_gru"] = files["style_gru"], files["style_encoder"]

    problems = refusal(tmp_path, files).details["differences"]
    assert any("style_gru" in problem and "is missing" in problem for problem in problems)
    assert any("is left over" in problem for problem in problems)


def test_parameters_that_share_one_block_of_memory_are_stored_one_by_one(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    content: dict[str, Any] = torch.load(files["style_gru"], weights_only=True)
    state: dict[str, Tensor] = content["state_dict"]
    block = torch.cat([value.flatten().float() for value in state.values()])
    place = 0
    for name, value in state.items():
        state[name] = block[place : place + value.numel()].view(value.shape)
        place += value.numel()
    torch.save(content, files["style_gru"])

    loaded = load_detector(imported(tmp_path, files).pack).state_dict()

    assert torch.equal(loaded["style_gru.gru.bias_ih_l1"], official(STYLE_GRU)["gru.bias_ih_l1"])


def test_half_precision_sources_become_a_float32_pack(tmp_path: Path, files: dict[str, Path]) -> None:
    content: dict[str, Any] = torch.load(files["stage_two"], weights_only=True)
    torch.save({name: value.half() for name, value in content["model"].items()}, files["stage_two"])

    loaded = load_detector(imported(tmp_path, files).pack).state_dict()

    assert {value.dtype for value in loaded.values()} == {torch.float32, torch.int64}


def test_weights_that_give_no_finite_number_make_no_pack(tmp_path: Path, files: dict[str, Path]) -> None:
    huge = torch.full_like(official(STAGE_TWO)["resnet.head.time_T.mlp_head.1.weight"], 3e38)
    altered(files["stage_two"], {"module.resnet.head.time_T.mlp_head.1.weight": huge})

    assert "gives no finite number for the golden clip" in str(refusal(tmp_path, files))


def test_a_pack_of_that_name_is_never_overwritten(tmp_path: Path, files: dict[str, Path]) -> None:
    first = imported(tmp_path, files)

    with pytest.raises(PackError, match="exists already; choose another version"):
        imported(tmp_path, files)
    assert Catalog(tmp_path / "packs").packs == (first.pack,)


def test_a_name_that_no_pack_can_have_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    assert "The pack's name will not do" in str(refusal(tmp_path, files, Wishes(name="../elsewhere")))


def test_the_variant_of_the_style_attention_is_kept_in_the_card(tmp_path: Path) -> None:
    sizes = dataclasses.replace(
        TINY, style_gru=dataclasses.replace(TINY.style_gru, hidden=16), style_attention="style_query"
    )
    made = imported(tmp_path, write_checkpoints(tmp_path / "checkpoints", sizes), sizes)

    assert load_detector(made.pack).style_attention.roles == "style_query"


def test_a_style_gru_without_its_input_is_refused_with_what_is_missing(tmp_path: Path, files: dict[str, Path]) -> None:
    altered(files["style_gru"], {"module.model.gru.weight_ih_l0": None})

    assert any("weight_ih_l0 is missing" in problem for problem in refusal(tmp_path, files).details["differences"])


def test_a_value_too_large_for_float32_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    content: dict[str, Any] = torch.load(files["stage_two"], weights_only=True)
    state = next((content[key] for key in ("model", "state_dict") if key in content), content)
    name = next(key for key in state if key.endswith("running_var"))
    state[name] = state[name].double().fill_(1e300)
    torch.save(content, files["stage_two"])

    assert "not finite in float32" in str(refusal(tmp_path, files))


def test_a_second_default_is_refused_before_it_is_written(tmp_path: Path, files: dict[str, Path]) -> None:
    imported(tmp_path, files, wishes=Wishes(version="1", default=True))

    with pytest.raises(PackError, match="is the default already"):
        imported(tmp_path, files, wishes=Wishes(version="2", default=True))

    assert [card.version for card in Catalog(tmp_path / "packs").cards] == ["1"]


def test_a_pack_that_another_import_made_meanwhile_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    state = random_parameters(TINY, seed=1)
    first = write_random_pack(tmp_path, TINY, seed=1)

    with pytest.raises(PackError, match="exists already"):
        write_pack(tmp_path, state, lambda weights: first.card.model_copy(update={"weights": weights}))


@pytest.mark.parametrize(("encoder", "taken"), [("Encoder4Editing", False), ("GradualStyleEncoder", True)])
def test_another_encoder_of_the_same_names_and_shapes_is_not_taken_for_psps(
    tmp_path: Path, files: dict[str, Path], encoder: str, taken: bool
) -> None:
    content = torch.load(files["style_encoder"], weights_only=True)
    content["opts"] = {"encoder_type": encoder}
    torch.save(content, files["style_encoder"])

    if taken:
        assert imported(tmp_path, files).pack.card.components == COMPONENTS
    else:
        assert "Encoder4Editing" in str(refusal(tmp_path, files))
