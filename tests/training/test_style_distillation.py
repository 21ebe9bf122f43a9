from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from styleflow.models.style_encoder import GradualStyleEncoder
from styleflow.training.chance import Chance
from styleflow.training.geometry import Geometry
from styleflow.training.loop import LoopWish
from styleflow.training.store import Store, VideoFacts
from styleflow.training.style_distillation import Distillation, DistillationTrainee, distil, wide_pairs
from tests.models.small_networks import TINY
from tests.training.drawn_store import drawn_clip, drawn_landmarks, write_drawn

SMALL = TINY.style_encoder
LARGE = replace(SMALL, input_size=64, style_width=10)
WISH = Distillation(loop=LoopWish(steps=120, learning_rate=1e-2, weight_decay=0, average=0.9))


def faces(chance: Chance) -> Tensor:
    """Eight patterns of few colours: something that can be learnt in a test."""
    coarse = torch.rand(8, 3, 2, 2, generator=chance.generator)
    return torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear")


@pytest.fixture
def encoders() -> tuple[GradualStyleEncoder, GradualStyleEncoder]:
    torch.manual_seed(0)
    teacher = GradualStyleEncoder(LARGE)
    for part in teacher.styles.modules():
        if isinstance(part, nn.Conv2d):  # a fresh teacher says nearly the same of every face
            nn.init.kaiming_normal_(part.weight, a=0.01)
    return GradualStyleEncoder(SMALL), teacher


def test_the_small_encoder_learns_the_large_ones_latents(
    encoders: tuple[GradualStyleEncoder, GradualStyleEncoder], tmp_path: Path
) -> None:
    small, large = encoders
    before = {name: value.clone() for name, value in large.state_dict().items()}
    trainee = DistillationTrainee(small, large, faces, WISH)
    test = trainee.draw(0, Chance.seeded(99))
    with torch.no_grad():
        untaught = trainee.loss(test)[1]

    fitted = distil(small, large, faces, tmp_path, WISH)

    assert fitted.finished
    assert all(torch.equal(large.state_dict()[name], value) for name, value in before.items())
    taught = DistillationTrainee(small, large, faces, WISH)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["average"]
    taught.module.load_state_dict(saved)
    with torch.no_grad():
        latents = taught.loss(test)[1]["latents"]
    assert latents < 0.7 < untaught["latents"]


def test_encoders_of_different_numbers_of_styles_are_refused() -> None:
    other = GradualStyleEncoder(replace(LARGE, styles_per_level=(1, 1, 1)))

    with pytest.raises(ValueError, match="6 styles cannot learn 3"):
        DistillationTrainee(GradualStyleEncoder(SMALL), other, faces, WISH)


def test_a_stores_pairs_are_neighbours_in_their_own_size(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", Geometry(32), "x")
    write_drawn(store, people=2)

    drawn = wide_pairs(store, count=3, held_back=())(Chance.seeded(0))

    side = store.geometry.wide_size
    assert drawn.shape == (6, 3, side, side)
    assert 0 <= float(drawn.min()) < float(drawn.max()) <= 1
    within = (drawn[1::2] - drawn[::2]).abs().mean()
    assert float(within) < float((drawn[2:] - drawn[:-2]).abs().mean())
    with pytest.raises(ValueError, match="no clips of the split validation"):
        wide_pairs(store, count=3, held_back=(), split="validation")


def test_who_is_held_back_is_never_distilled_from(tmp_path: Path) -> None:
    """Of everybody who may be drawn from only the dark one is left."""
    store = Store.create(tmp_path / "store", Geometry(32), "x")
    write_drawn(store, people=2)
    black, marks = np.zeros_like(drawn_clip(0, store.geometry.wide_size)), drawn_landmarks(store.geometry.wide_size)
    store.write(VideoFacts(key="dark", label="real", identity="dark"), [black], [marks])
    people = {video.facts.identity for video in store.videos}

    pairs = wide_pairs(store, count=8, held_back=people - {"dark"})

    assert float(pairs(Chance.seeded(0)).mean()) < 0.1
    with pytest.raises(ValueError, match="besides who is held back"):
        wide_pairs(store, count=8, held_back=people)


def test_a_teachers_large_picture_shows_the_same_face(
    encoders: tuple[GradualStyleEncoder, GradualStyleEncoder],
) -> None:
    small, large = encoders
    trainee = DistillationTrainee(small, large, faces, WISH)

    pictures, wanted = trainee.draw(0, Chance.seeded(3))

    assert pictures.shape == (8, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(wanted, large(faces(Chance.seeded(3)) * 2 - 1))
