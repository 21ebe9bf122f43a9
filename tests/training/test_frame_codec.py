from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from styleflow.training.frame_codec import decode, encode


def smooth_clip(seed: int, frames: int = 3, height: int = 12, width: int = 16) -> NDArray[np.uint8]:
    """Colours that change slowly over the picture, as faces do."""
    rng = np.random.default_rng(seed)
    middle, slope = rng.uniform(60, 190, (frames, 1, 1, 3)), rng.uniform(-4, 4, (2, frames, 1, 1, 3))
    down, across = (
        np.arange(height)[None, :, None, None] - height / 2,
        np.arange(width)[None, None, :, None] - width / 2,
    )
    return np.clip(middle + slope[0] * down + slope[1] * across, 0, 255).astype(np.uint8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_slowly_changing_pictures_come_back_within_a_few_levels(seed: int) -> None:
    clip = smooth_clip(seed)

    back = decode(encode(clip), (3, 12, 16))

    assert np.abs(back.astype(int) - clip).max() <= 10


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_grey_pictures_come_back_exactly_whatever_they_show(seed: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (4, 8, 10, 1), dtype=np.uint8).repeat(3, axis=3)

    assert (decode(encode(grey), (4, 8, 10)) == grey).all()


def test_a_clip_that_stands_still_costs_little_more_than_one_frame() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)

    assert len(encode(frame.repeat(16, axis=0))) < 1.1 * len(encode(frame))


@pytest.mark.parametrize("damaged", [b"", b"not deflate", encode(np.zeros((1, 4, 4, 3), np.uint8))])
def test_bytes_that_are_no_such_block_are_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a block|reshape"):
        decode(damaged, (2, 8, 8))
