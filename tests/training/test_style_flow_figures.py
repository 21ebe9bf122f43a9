from __future__ import annotations

import pytest
import torch
from torch import Tensor

from styleflow.training.style_flow_figures import correlation, flow_figures, pixel_change
from styleflow.training.style_pictures import PictureRun


def moving(identity: str, seed: int, frames: int = 12) -> PictureRun:
    """Flat pictures whose light changes by steps of different size."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(1, 12, (frames,), generator=generator).cumsum(0) + 60 * seed
    pictures = levels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    return PictureRun(identity, identity, "real", pictures)


RUNS = [moving("a", 0), moving("b", 1), moving("c", 2)]


def light(pictures: Tensor) -> Tensor:
    return pictures.mean(dim=(1, 2, 3)).view(-1, 1, 1).expand(-1, 2, 3)


def nothing(pictures: Tensor) -> Tensor:
    return torch.ones(len(pictures), 2, 3)


def test_an_encoder_that_sees_the_light_follows_it() -> None:
    found = flow_figures(light, RUNS)

    assert found["follows"] == pytest.approx(1, abs=1e-3)
    assert found["follows/in_clip"] == pytest.approx(1, abs=1e-3)
    assert 0 < found["flow/next"] < found["flow/clip"] < found["flow/people"]
    assert found["flow/coding"] < found["flow/next"]


def test_an_encoder_that_sees_nothing_has_no_flow() -> None:
    assert flow_figures(nothing, RUNS) == dict.fromkeys(flow_figures(light, RUNS), 0.0)


def test_without_clips_there_are_no_figures() -> None:
    assert flow_figures(light, []) == {}
    assert flow_figures(light, [moving("a", 0, frames=1)]) == {}


def test_correlation_is_pearsons() -> None:
    one = torch.tensor([1.0, 2.0, 3.0])

    assert correlation(one, 2 * one + 1) == pytest.approx(1)
    assert correlation(one, -one) == pytest.approx(-1)
    assert correlation(one, torch.tensor([1.0, -2.0, 1.0])) == pytest.approx(0, abs=1e-6)


def test_change_is_measured_between_neighbours() -> None:
    pictures = torch.zeros(3, 3, 16, 16)
    pictures[1:] += 0.5

    torch.testing.assert_close(pixel_change(pictures), torch.tensor([0.5, 0.0]))
