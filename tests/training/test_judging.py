from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from styleflow.training import judging
from styleflow.training.bank import Bank, banked
from styleflow.training.batches import Batch, BatchMix, Framing, drawn_batch
from styleflow.training.chance import Chance
from styleflow.training.geometry import Geometry
from styleflow.training.judging import area_under_curve, paired_accuracy, plain_batch, separation, video_scores
from styleflow.training.store import Store
from tests.training.drawn_store import write_drawn

GEOMETRY = Geometry(32)
MIX = BatchMix(pairs=3, frames=4, frame_step=2, generated=0.0, swaps=0.0)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    store = Store.create(tmp_path_factory.mktemp("store"), GEOMETRY, "drawn")
    write_drawn(store)
    return banked(Store.open(store.directory))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_the_area_is_that_of_scikit_learn(real: list[float], fake: list[float]) -> None:
    expected = roc_auc_score([0] * len(real) + [1] * len(fake), real + fake)

    assert area_under_curve(real, fake) == pytest.approx(expected)


def test_no_area_without_both_classes() -> None:
    assert math.isnan(area_under_curve([], [1.0]))
    assert math.isnan(area_under_curve([1.0], []))


def test_who_knows_is_always_right_and_who_does_not_is_never(bank: Bank) -> None:
    def knows(batch: Batch) -> torch.Tensor:
        return batch.labels

    def knows_nothing(batch: Batch) -> torch.Tensor:
        return torch.zeros(len(batch.labels))

    right, wrong = (
        paired_accuracy(bank, MIX, Framing(GEOMETRY), judge, batches=4, seed=1) for judge in (knows, knows_nothing)
    )

    assert right["paired"] == 1.0
    assert wrong["paired"] == 0.0
    assert {name for name in right if name.startswith("paired/")} == {name for name in wrong if "/" in name}


def test_videos_are_separated_by_their_mean_score_and_pairs_within_the_data(bank: Bank) -> None:
    scores = list(video_scores(bank, MIX, Framing(GEOMETRY), lambda batch: batch.labels))

    found = separation(scores)

    assert len(scores) == len(bank.videos)
    assert found == {"auc": 1.0, "auc/swapper": 1.0, "auc/talker": 1.0, "paired/data": 1.0}


def test_a_part_without_fakes_has_no_area(bank: Bank) -> None:
    reals = bank.where(lambda video: not video.fake)

    assert separation(list(video_scores(reals, MIX, Framing(GEOMETRY), lambda batch: batch.labels))) == {}


def test_what_is_judged_is_drawn_where_the_network_is(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without an accelerator: the draw notes the place it was asked for and draws on the CPU."""
    asked: list[torch.device] = []

    def recording(bank: Bank, mix: BatchMix, framing: Framing, chance: Chance, device: torch.device) -> Batch:
        asked.append(device)
        return drawn_batch(bank, mix, framing, chance, torch.device("cpu"))

    monkeypatch.setattr(judging, "drawn_batch", recording)
    paired_accuracy(bank, MIX, Framing(GEOMETRY), lambda batch: batch.labels, batches=2, seed=1, device="cuda:1")

    assert asked == [torch.device("cuda:1")] * 2


def test_a_stored_clip_is_put_where_the_network_is(bank: Bank) -> None:
    batch = plain_batch(bank.videos[0], 0, BatchMix(frames=4, frame_step=1, style=True), Framing(GEOMETRY), "meta")

    assert batch.style is not None
    places = {part.device.type for part in (batch.content, batch.labels, batch.masks, batch.mask_known, batch.style)}
    assert places == {"meta"}
