from __future__ import annotations

import pytest
import torch

from styleflow.training.bank import Bank, banked
from styleflow.training.batches import BatchMix, Framing, drawn_batch, patch_targets
from styleflow.training.chance import Chance
from styleflow.training.geometry import Geometry
from styleflow.training.store import Store
from tests.training.drawn_store import write_drawn

GEOMETRY = Geometry(32)
MIX = BatchMix(pairs=4, frames=4, frame_step=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    store = Store.create(tmp_path_factory.mktemp("store"), GEOMETRY, "drawn")
    write_drawn(store)
    return banked(Store.open(store.directory))


def test_a_batch_is_pairs_of_an_original_and_a_fake(bank: Bank) -> None:
    batch = drawn_batch(bank, MIX, Framing(GEOMETRY, 32), Chance.seeded(1), CPU)

    assert batch.content.shape == (8, 4, 3, 32, 32)
    assert batch.masks.shape == (8, 4, 1, 32, 32)
    assert batch.labels.tolist() == [0, 1] * 4
    assert batch.kinds[::2] == ("real",) * 4
    assert not batch.masks[::2].any()
    assert batch.style is None


def test_style_pictures_are_made_when_asked_for(bank: Bank) -> None:
    mix = BatchMix(pairs=2, frames=32, frame_step=1, style=True)

    batch = drawn_batch(bank, mix, Framing(GEOMETRY, 16), Chance.seeded(1), CPU)

    assert batch.style is not None
    assert batch.style.shape == (4, 32, 3, 16, 16)


def test_the_same_seed_draws_the_same_batch(bank: Bank) -> None:
    first, second = (drawn_batch(bank, MIX, Framing(GEOMETRY), Chance.seeded(5), CPU) for _ in range(2))

    assert torch.equal(first.content, second.content)
    assert first.kinds == second.kinds


def test_both_of_a_pseudo_pair_go_through_the_same_world(bank: Bank) -> None:
    """Where nothing was altered nothing differs, whatever the re-encoding."""
    mix = BatchMix(pairs=8, frames=4, frame_step=2, generated=0.0, swaps=0.0, pseudo={"self_blend": 1.0})
    batch = drawn_batch(bank, mix, Framing(GEOMETRY), Chance.seeded(2), CPU)
    originals, fakes, masks = batch.content[::2], batch.content[1::2], batch.masks[1::2]

    difference = (originals - fakes).abs().mean(dim=2, keepdim=True)

    corner = (slice(None), slice(None), slice(None), slice(0, 4), slice(0, 4))
    assert masks[corner].max() < 1e-6
    assert difference[corner].max() < 0.02
    assert difference[masks > 0.9].mean() > 5 * difference[corner].mean()


@pytest.mark.parametrize(
    ("mix", "kinds"),
    [
        (BatchMix(pairs=12, frames=4, generated=1.0, swaps=0.0), {"swapper", "talker"}),
        (BatchMix(pairs=12, frames=4, generated=0.0, swaps=1.0), {"swapper"}),
        (BatchMix(pairs=12, frames=4, generated=0.0, swaps=0.0, pseudo={"animation": 1.0}), {"animation"}),
    ],
)
def test_the_mix_says_what_the_fakes_are(bank: Bank, mix: BatchMix, kinds: set[str]) -> None:
    batch = drawn_batch(bank, mix, Framing(GEOMETRY), Chance.seeded(3), CPU)

    assert set(batch.kinds[1::2]) == kinds


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_said_of_the_patches_of_a_generated_clip_is_the_mixs_choice(bank: Bank, whole: bool) -> None:
    mix = BatchMix(pairs=12, frames=4, generated=1.0, swaps=0.0, generated_whole=whole)

    batch = drawn_batch(bank, mix, Framing(GEOMETRY), Chance.seeded(3), CPU)

    alone = torch.tensor([kind == "talker" for kind in batch.kinds])
    assert (batch.mask_known[alone] == whole).all()
    assert (batch.masks[alone] == 1).all()
    assert batch.mask_known[~alone].all()


@pytest.mark.parametrize("size", [160, 192, 224])
def test_a_mirrored_picture_gives_the_mirrored_content_and_style(size: int) -> None:
    framing = Framing(Geometry(size), 32)
    wide = torch.rand(1, 3, framing.geometry.wide_size, framing.geometry.wide_size)

    assert torch.equal(framing.content(wide.flip(3), flipped=True), framing.content(wide).flip(3))
    torch.testing.assert_close(framing.style(wide.flip(3), flipped=True), framing.style(wide).flip(3))


def test_without_generated_videos_every_fake_is_a_pseudo_fake(bank: Bank) -> None:
    reals = bank.where(lambda video: not video.fake)

    batch = drawn_batch(reals, BatchMix(pairs=6, frames=4, generated=0.5), Framing(GEOMETRY), Chance.seeded(3), CPU)

    assert not {"swapper", "talker"} & set(batch.kinds)
    assert batch.mask_known.all()


def test_patch_targets_are_the_share_that_is_not_the_originals() -> None:
    masks = torch.zeros(1, 1, 1, 4, 4)
    masks[..., :2, :2] = 1.0
    masks[..., 2, 2] = 1.0

    assert patch_targets(masks, 2).tolist() == [[[[1.0, 0.0], [0.0, 0.25]]]]
