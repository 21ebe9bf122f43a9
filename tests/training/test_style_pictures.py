from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleflow.training.chance import Chance
from styleflow.training.geometry import Geometry
from styleflow.training.resampling import style_part
from styleflow.training.store import Store
from styleflow.training.style_pictures import (
    PictureMix,
    PictureRun,
    StylePictures,
    drawn_pictures,
    style_pictures,
)
from tests.training.drawn_store import write_drawn

AS_IT_IS = PictureMix(pairs=6, photos=0.5, furthest=3, moved=0.0, coded=0.0)


def run(identity: str, level: int = 0, frames: int = 5) -> PictureRun:
    pictures = torch.arange(level, level + frames, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 16, 16)
    return PictureRun(identity, f"video-{identity}", "real", pictures.contiguous())


PEOPLE = StylePictures(tuple(run(f"p{n}", 40 * n, 30) for n in range(5)), tuple(run(f"x{n}", 250, 1) for n in range(4)))


@settings(deadline=None)
@given(share=st.floats(0, 1))
def test_nobody_who_is_held_back_is_learnt_from(share: float) -> None:
    learnt, judged = PEOPLE.held_back(share)

    names = [{run.identity for run in (*part.clips, *part.photos)} for part in (learnt, judged)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 9
    assert learnt.clips
    assert learnt.photos
    assert bool(judged.clips) == (share > 0)


def test_the_same_seed_draws_the_same_pictures_and_another_others() -> None:
    mix = PictureMix(pairs=4)
    one, again, other = (drawn_pictures(PEOPLE, mix, Chance.seeded(seed)) for seed in (1, 1, 2))

    assert torch.equal(one.seen, again.seen)
    assert torch.equal(one.wanted, again.wanted)
    assert not torch.equal(one.seen, other.seen)


def test_two_of_a_clip_are_close_in_time_and_photos_are_no_neighbours() -> None:
    far = []
    for seed in range(20):
        drawn = drawn_pictures(PEOPLE, AS_IT_IS, Chance.seeded(seed))
        spread = drawn.wanted.flatten(1).max(dim=1).values - drawn.wanted.flatten(1).min(dim=1).values
        assert float(spread.max()) < 0.05, "a flat picture stays flat"
        assert drawn.neighbours.shape == (6,)
        far.append(drawn.neighbours)
    share = torch.cat(far).float().mean().item()
    assert 0.3 < share < 0.7


def test_compression_is_seen_and_not_wanted() -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randint(0, 256, (8, 3, 32, 32), generator=generator, dtype=torch.uint8)
    pictures = StylePictures((PictureRun("a", "v", "real", noisy),))
    plain = drawn_pictures(pictures, PictureMix(pairs=3, coded=0.0), Chance.seeded(4))
    coded = drawn_pictures(pictures, PictureMix(pairs=3, coded=1.0), Chance.seeded(4))

    assert torch.equal(plain.seen, plain.wanted)
    assert not torch.equal(coded.seen, coded.wanted)
    assert float(coded.seen.min()) >= -1
    assert float(coded.seen.max()) <= 1


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        drawn_pictures(StylePictures(()), PictureMix(), Chance.seeded(0))


def test_a_store_gives_every_clip_of_the_split_and_every_photo(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", Geometry(32), "x")
    write_drawn(store, people=2)

    found = style_pictures(store, 16)

    assert len(found.clips) == sum(video.clips for video in store.videos) > 0
    assert len(found.photos) == len(store.photos) > 0
    assert {tuple(run.pictures.shape) for run in found.clips} == {(32, 3, 16, 16)}
    assert found.clips[0].pictures.dtype == torch.uint8
    assert not style_pictures(store, 16, ("validation",)).clips
    left = {run.video for run in style_pictures(store, 16, without_generators=["swapper"]).clips}
    assert left == {video.facts.key for video in store.videos if video.facts.generator != "swapper"}
    pictures = torch.from_numpy(store.videos[0].frames(0)).permute(0, 3, 1, 2).float()
    square = style_part(pictures, store.geometry).mean()
    small = next(run for run in found.clips if run.video == store.videos[0].facts.key).pictures.float().mean()
    assert float(small) == pytest.approx(float(square), abs=2)
