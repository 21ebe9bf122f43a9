from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from styleflow.errors import ConfigurationError
from styleflow.training.bank import banked
from styleflow.training.geometry import Geometry
from styleflow.training.recipe import Selection
from styleflow.training.selection import chosen_banks, judged_bank
from styleflow.training.store import Store, StoreError, VideoFacts
from tests.training.drawn_store import drawn_clip, drawn_landmarks, write_drawn


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store", Geometry(16), "drawn")
    write_drawn(store)
    return Store.open(store.directory)


def drawn_content(store: Store) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    side = store.geometry.wide_size
    return [drawn_clip(1, side)], [drawn_landmarks(side)]


def test_who_is_held_back_is_only_judged_by_and_left_out_generators_are_in_neither(store: Store) -> None:
    learn, judge = chosen_banks(store, Selection(folds=3, held_back=1, without_generators=("talker",)))

    assert not {video.identity for video in learn.videos} & {video.identity for video in judge.videos}
    assert {name for bank in (learn, judge) for name in bank.fakes} == {"swapper"}


def test_nobody_need_be_held_back(store: Store) -> None:
    learn, judge = chosen_banks(store, Selection(held_back=-1))

    assert (len(learn.videos), len(judge.videos)) == (12, 0)


def test_a_generator_that_made_nothing_here_cannot_be_left_out(store: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"no video in the store is of tolker; it has swapper, talker"):
        chosen_banks(store, Selection(without_generators=("talker", "tolker")))


def test_a_store_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no clips of the split train"):
        chosen_banks(Store.create(tmp_path / "empty", Geometry(16), "nothing"), Selection())


def test_fakes_alone_are_refused(store: Store) -> None:
    for path in store.directory.glob("clips/real-*"):
        path.unlink()

    with pytest.raises(StoreError, match="no real video to learn from"):
        chosen_banks(Store.open(store.directory), Selection(held_back=-1))


def test_judged_are_the_held_back_and_what_a_left_out_generator_made_of_strangers(store: Store) -> None:
    chosen = Selection(folds=3, held_back=1, without_generators=("talker",))
    learn, judge = chosen_banks(store, chosen)

    judged = {video.key for video in judged_bank(store, chosen, "train").videos}

    learnt = {video.identity for video in learn.videos}
    talking = {video.key for video in banked(store).videos if video.generator == "talker"}
    assert {video.key for video in judge.videos} < judged
    assert judged & talking == talking  # their people are made up: nobody has a real video
    assert judged - talking == {video.key for video in judge.videos}
    swaps = judged_bank(store, Selection(folds=3, held_back=1, without_generators=("swapper",)), "train")
    assert {video.identity for video in swaps.videos if video.generator == "swapper"} & learnt == set()


@pytest.mark.parametrize("known", ["person-1", "person-0"])
def test_a_left_out_swap_is_not_judged_when_its_donor_was_learnt_from(store: Store, known: str) -> None:
    learn, _ = chosen_banks(store, Selection(folds=3, held_back=1, without_generators=("talker",)))
    donor = known if known in {video.identity for video in learn.videos} else "nobody else"
    facts = VideoFacts(key="other", label="fake", identity="made-up", generator="talker", donor=donor)
    store.write(facts, *drawn_content(store))

    chosen = Selection(folds=3, held_back=1, without_generators=("talker",))
    again = Store.open(store.directory)
    learnt = {video.identity for video in chosen_banks(again, chosen)[0].videos}

    judged = {video.key for video in judged_bank(again, chosen, "train").videos}
    assert ("other" in judged) == (donor not in learnt)


def test_another_split_is_judged_whole(store: Store) -> None:
    store.write(VideoFacts(key="other", label="real", identity="other", split="test"), *drawn_content(store))

    assert [video.key for video in judged_bank(Store.open(store.directory), Selection(), "test").videos] == ["other"]
    with pytest.raises(StoreError, match="nobody of the split validation"):
        judged_bank(store, Selection(), "validation")
