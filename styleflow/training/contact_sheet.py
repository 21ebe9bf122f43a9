"""Pictures beside what came back of them, as one PNG that is written with the standard library alone."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

GAP = 2
"""White pixels between neighbouring pairs."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def contact_sheet(rows: Sequence[tuple[Tensor, Tensor]], enlarged: int = 1) -> Tensor:
    """Rows of (originals [K,3,R,R], reconstructions [K,3,R,R]) in [-1,1] -> one picture uint8 [H,W,3].

    A pair stands side by side, original left; rows may have different lengths. Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("a contact sheet needs pictures")
    columns = max(len(originals) for originals, _ in rows)
    side = rows[0][0].shape[-1]
    sheet = torch.ones(3, len(rows) * (side + GAP) - GAP, columns * (2 * side + GAP) - GAP)
    for row, (originals, returned) in enumerate(rows):
        for column, pair in enumerate(zip(originals, returned, strict=True)):
            top, left = row * (side + GAP), column * (2 * side + GAP)
            sheet[:, top : top + side, left : left + 2 * side] = torch.cat([*pair], dim=2).detach().cpu()
    grown = functional.interpolate(sheet[None], scale_factor=enlarged, mode="nearest")[0] if enlarged > 1 else sheet
    return ((grown + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def write_png(path: Path, picture: Tensor) -> None:
    """A picture uint8 [H,W,3], RGB, as a PNG (ISO/IEC 15948: eight bits, no filter, one IDAT). Whole or not at all."""
    height, width, channels = picture.shape
    if channels != 3 or picture.dtype != torch.uint8:
        raise ValueError(f"a picture is uint8 [H,W,3], not {picture.dtype} {tuple(picture.shape)}")
    lines = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), picture.cpu().reshape(height, -1)], dim=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.numpy().tobytes(), 9)), (b"IEND", b"")]
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_bytes(_SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks))
    os.replace(unfinished, path)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
