from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.training.geometry import Geometry
from styleflow.training.loop import CHECKPOINT, LOG, LoopWish
from styleflow.training.store import Store
from styleflow.training.style_encoder import (
    ENCODER,
    FIGURES,
    GENERATOR,
    SHEET,
    EncoderTraining,
    average_in,
    train_style_encoder,
)
from styleflow.training.style_generator import StyleGeneratorSizes
from styleflow.training.style_pictures import PictureMix
from tests.models.small_networks import TINY
from tests.training.drawn_store import write_drawn

SIZES = TINY.style_encoder
GENERATOR_SIZES = StyleGeneratorSizes(output_size=32, channels=(12, 12, 8, 6), styles=6, style_width=6)


def wish(steps: int, average: float = 0.9) -> EncoderTraining:
    loop = LoopWish(steps=steps, learning_rate=5e-3, optimiser="adam", weight_decay=0, average=average, log_every=5)
    return EncoderTraining(encoder=SIZES, generator=GENERATOR_SIZES, mix=PictureMix(pairs=4), loop=loop, held_back=0.3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.create(tmp_path_factory.mktemp("drawn") / "store", Geometry(32), "x")
    write_drawn(made, people=3)
    return made


def test_people_held_back_come_back_better_than_as_the_mean_picture(store: Store, tmp_path: Path) -> None:
    trained = train_style_encoder(store, tmp_path, wish(steps=120))

    assert (trained.step, trained.finished) == (120, True)
    assert trained.figures["error"] < trained.figures["error/mean_picture"]
    assert trained.figures == json.loads((tmp_path / FIGURES).read_text())
    logged = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert logged[-2]["pixels"] < 0.6 * logged[0]["pixels"]
    assert (tmp_path / SHEET).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / GENERATOR).exists()


def test_what_is_kept_loads_under_the_encoders_names(store: Store, tmp_path: Path) -> None:
    trained = train_style_encoder(store, tmp_path, wish(steps=4))
    encoder = GradualStyleEncoder(SIZES)

    encoder.load_state_dict(load_file(tmp_path / ENCODER), strict=True)

    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    assert not trained.encoder.training
    with torch.inference_mode():
        torch.testing.assert_close(encoder.eval()(pictures), trained.encoder(pictures))


def test_a_run_that_was_stopped_ends_as_one_that_was_not(store: Store, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_style_encoder(store, whole, wish(steps=3))

    stopped = train_style_encoder(store, parts, wish(steps=3), stop_after_seconds=0)
    assert not stopped.finished
    assert (parts / ENCODER).exists(), "what there is can be looked at"
    assert train_style_encoder(store, parts, wish(steps=3)).finished

    one, other = (load_file(folder / ENCODER) for folder in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_an_average_the_last_parameters_are_kept(store: Store, tmp_path: Path) -> None:
    train_style_encoder(store, tmp_path, wish(steps=2, average=0.0), stop_after_seconds=0)

    module = torch.load(tmp_path / CHECKPOINT, weights_only=True)["module"]
    found = average_in(tmp_path / CHECKPOINT)
    assert found.keys() == module.keys()
    assert all(torch.equal(found[name], module[name]) for name in module)


def test_features_are_part_of_the_loss_where_they_are_given(store: Store, tmp_path: Path) -> None:
    seen: list[int] = []

    def features(pictures: Tensor) -> Tensor:
        seen.append(len(pictures))
        return pictures.mean(dim=(2, 3))

    train_style_encoder(store, tmp_path, wish(steps=5), features=features)

    assert seen == [8, 8] * 5
    assert json.loads((tmp_path / LOG).read_text().splitlines()[0])["features"] > 0


def test_a_generator_of_other_styles_is_refused() -> None:
    with pytest.raises(ValueError, match="the encoder's styles"):
        EncoderTraining(encoder=SIZES)
