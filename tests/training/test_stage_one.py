from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from styleflow.errors import ConfigurationError
from styleflow.models.style_gru import StyleGRUClassifier
from styleflow.training.chance import Chance
from styleflow.training.loop import LoopWish
from styleflow.training.reservoir import Reservoir, Rows
from styleflow.training.stage_one import StageOneTrainee, drawn_triplets, triplet_ranking


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=30), st.integers(0, 1000))
def test_a_triplet_is_two_different_clips_of_a_class_and_one_of_the_other(values: list[float], seed: int) -> None:
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0, *values])

    triplets = drawn_triplets(labels, 20, Chance.seeded(seed))

    anchor, positive, negative = triplets.unbind(1)
    assert (labels[anchor] == labels[positive]).all()
    assert (labels[anchor] != labels[negative]).all()
    assert (anchor != positive).all()
    assert (triplets < len(labels)).all()


def test_triplets_need_two_clips_of_each_class() -> None:
    with pytest.raises(ConfigurationError, match="two clips of each class"):
        drawn_triplets(torch.tensor([0.0, 1.0, 1.0]), 1, Chance.seeded(0))


def test_ranking_is_the_margin_less_what_the_negative_is_further_away() -> None:
    anchor = torch.zeros(1, 2)

    def ranked(near: float, far: float) -> float:
        triplet = torch.stack([anchor, torch.tensor([[near, 0.0]]), torch.tensor([[0.0, far]])], dim=1)
        return float(triplet_ranking(triplet))

    assert ranked(1.0, 5.0) == 0.0
    assert ranked(1.0, 1.5) == pytest.approx(0.5, abs=1e-4)
    assert ranked(3.0, 1.0) == pytest.approx(3.0, abs=1e-4)


def test_it_learns_to_tell_a_damped_flow_from_a_lively_one() -> None:
    """What the paper observes of fakes: their style flow varies less."""
    torch.manual_seed(0)

    def make(chance: Chance) -> Rows:
        labels = torch.tensor([0.0, 1.0] * 32)
        flow = chance.normal(64, 15, 8) * (1 - 0.7 * labels.view(-1, 1, 1))
        trend = chance.normal(64, 1, 8) * labels.view(-1, 1, 1)
        return {"flow": (flow + trend).half(), "labels": labels}

    network = StyleGRUClassifier(features=8, hidden=8, head_hidden=8, steps=15)
    trainee = StageOneTrainee(network, Reservoir(make, 0, 2, 20), batch=32)
    optimiser = torch.optim.AdamW(trainee.groups(LoopWish(steps=1, learning_rate=5e-3)))
    for step in range(60):
        loss, _ = trainee.loss(trainee.draw(step, Chance.seeded(step)))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    rows = make(Chance.seeded(99))
    with torch.inference_mode():
        logits = network.eval()(rows["flow"].float())[0].squeeze(1)

    assert ((logits > 0) == (rows["labels"] > 0)).float().mean() > 0.8
