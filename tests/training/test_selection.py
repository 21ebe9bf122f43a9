from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.errors import ConfigurationError
from styleflow.training.geometry import Geometry
from styleflow.training.recipe import Selection
from styleflow.training.selection import chosen_banks
from styleflow.training.store import Store, StoreError
from tests.training.drawn_store import write_drawn


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store", Geometry(16), "drawn")
    write_drawn(store)
    return Store.open(store.directory)


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
