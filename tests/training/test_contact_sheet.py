from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleflow.training.contact_sheet import GAP, contact_sheet, write_png


def grey(level: float, count: int = 1, side: int = 4) -> Tensor:
    return torch.full((count, 3, side, side), level)


def read_png(path: Path) -> Tensor:
    """Of one unfiltered eight-bit RGB picture; checks every chunk's checksum."""
    data, chunks, at = path.read_bytes(), {}, 8
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + content),)
        chunks[kind], at = content, at + 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, colour, list(chunks)[-1]) == (8, 2, b"IEND")
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, 1 + 3 * width)
    assert not lines[:, 0].any()
    return torch.from_numpy(lines[:, 1:].reshape(height, width, 3).copy())


def test_an_original_stands_left_of_its_reconstruction() -> None:
    sheet = contact_sheet([(grey(-1, 2), grey(1, 2)), (grey(0, 1), grey(0, 1))])

    assert sheet.shape == (2 * 4 + GAP, 2 * 8 + GAP, 3)
    assert sheet[:4, :4].unique().tolist() == [0]
    assert sheet[:4, 4:8].unique().tolist() == [255]
    assert sheet[4 + GAP :, :8].unique().tolist() == [128]
    assert sheet[4 + GAP :, 8 + GAP :].unique().tolist() == [255]


def test_enlarging_repeats_pixels_and_light_beyond_the_range_is_cut() -> None:
    sheet = contact_sheet([(grey(-3), grey(5))], enlarged=3)

    assert sheet.shape == (12, 24, 3)
    assert sheet[:, :12].unique().tolist() == [0]
    assert sheet[:, 12:].unique().tolist() == [255]


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs pictures"):
        contact_sheet([])


@settings(deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_png_holds_the_picture(tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    path = tmp_path_factory.mktemp("png") / "sheet.png"

    write_png(path, picture)

    assert torch.equal(read_png(path), picture)
    assert [entry.name for entry in path.parent.iterdir()] == ["sheet.png"]


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_png(tmp_path / "sheet.png", torch.zeros(4, 4, 3))
