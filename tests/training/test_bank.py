from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.training.bank import Bank, banked, held_back, without_generators
from styleflow.training.chance import Chance
from styleflow.training.geometry import Geometry
from styleflow.training.store import Store, VideoFacts
from tests.training.drawn_store import drawn_clip, drawn_landmarks, write_drawn


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    store = Store.create(tmp_path_factory.mktemp("store"), Geometry(16), "drawn")
    write_drawn(store, people=8)
    return banked(Store.open(store.directory))


def test_no_identity_is_on_both_sides_of_a_fold(bank: Bank) -> None:
    for fold in range(3):
        learn, judge = held_back(bank, fold, 3)

        assert not {video.identity for video in learn.videos} & {video.identity for video in judge.videos}
        assert len(learn.videos) + len(judge.videos) == len(bank.videos)


def test_every_fold_has_some_of_every_generator(bank: Bank) -> None:
    for fold in range(4):
        assert set(held_back(bank, fold, 4)[1].fakes) == {"swapper", "talker"}


def test_a_fake_stays_with_the_original_that_it_was_made_of(bank: Bank) -> None:
    learn, _ = held_back(bank, 0, 4)

    assert all(video.pair in learn.by_key for video in learn.videos if video.pair)


def test_every_person_is_drawn_as_often_as_any_other(bank: Bank) -> None:
    chance = Chance.seeded(0)
    drawn = [bank.real(chance).identity for _ in range(800)]

    counts = {identity: drawn.count(identity) for identity in set(drawn)}
    assert len(counts) == 8
    assert max(counts.values()) < 2 * min(counts.values())


def test_another_face_is_somebody_elses(bank: Bank) -> None:
    chance = Chance.seeded(0)

    others = [bank.other_face(chance, "person-3")[0] for _ in range(100)]

    assert {video.identity for video in others} > {"photo-0", "photo-1", "person-0"}
    assert "person-3" not in {video.identity for video in others}


def test_the_originals_clip_of_the_same_moment_is_found_by_its_time(tmp_path: Path) -> None:
    store = Store.create(tmp_path, Geometry(16), "drawn")
    clips, marks = [drawn_clip(number, 22) for number in range(3)], drawn_landmarks(22)
    real = VideoFacts(key="real", label="real", identity="ann")
    fake = VideoFacts(key="fake", label="fake", identity="ann", generator="g", pair="real")
    store.write(real, clips, [marks] * 3, starts=[0.0, 2.0, 4.0])
    store.write(fake, clips[:2], [marks] * 2, starts=[2.0, 3.0])

    bank = banked(Store.open(tmp_path))
    (swap,) = bank.swaps

    found = bank.moment_in_original(swap, 0)
    assert found is not None
    assert (found[0].key, found[1]) == ("real", 1)
    assert bank.moment_in_original(swap, 1) is None


def test_of_two_clips_at_nearly_the_same_moment_the_nearer_is_the_originals(tmp_path: Path) -> None:
    store = Store.create(tmp_path, Geometry(16), "drawn")
    clips, marks = [drawn_clip(number, 22) for number in range(2)], drawn_landmarks(22)
    store.write(VideoFacts(key="real", label="real", identity="ann"), clips, [marks] * 2, starts=[1.99, 2.0])
    fake = VideoFacts(key="fake", label="fake", identity="ann", generator="g", pair="real")
    store.write(fake, clips[:1], [marks], starts=[2.0])

    bank = banked(Store.open(tmp_path))

    found = bank.moment_in_original(bank.swaps[0], 0)
    assert found is not None
    assert found[1] == 1


def test_a_generator_can_be_left_out(bank: Bank) -> None:
    assert set(without_generators(bank, ["talker"]).fakes) == {"swapper"}


def test_a_small_memory_gives_the_same_clips_as_a_large_one(bank: Bank, tmp_path: Path) -> None:
    store = Store.create(tmp_path, Geometry(16), "drawn")
    write_drawn(store, people=3)
    one_clip = 32 * 22 * 22 * 3

    narrow = banked(Store.open(tmp_path), most_bytes=2 * one_clip)
    wide = banked(Store.open(tmp_path))

    for _ in range(2):
        for first, second in zip(narrow.videos, wide.videos, strict=True):
            for number in range(first.clips):
                assert (first.clip(number, slice(None))[0] == second.clip(number, slice(None))[0]).all()
    assert len(narrow.videos[0].cache._held) == 2
    assert len(wide.videos[0].cache._held) == sum(video.clips for video in wide.videos)
