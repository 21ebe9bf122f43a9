from __future__ import annotations

import struct

import pytest

from styleflow.video.landlock import ruleset


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (1, (0x1FFF,)),
        (2, (0x3FFF,)),
        (3, (0x7FFF,)),
        (4, (0x7FFF, 0b11)),
        (5, (0xFFFF, 0b11)),
        (6, (0xFFFF, 0b11, 0b11)),
        (7, (0xFFFF, 0b11, 0b11)),
        (50, (0xFFFF, 0b11, 0b11)),
    ],
)
def test_a_ruleset_forbids_all_that_a_kernel_of_that_version_can_forbid(version: int, words: tuple[int, ...]) -> None:
    assert struct.unpack(f"={len(words)}Q", ruleset(version)) == words
