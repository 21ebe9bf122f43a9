from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from styleflow.training.reconstruction_figures import reconstruction_figures, sampled, sheet_rows, spread
from styleflow.training.style_pictures import PictureRun, StylePictures


def run(identity: str, seed: int, frames: int = 8) -> PictureRun:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (frames, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return PictureRun(identity, f"{identity}-{seed}", "real", pictures)


JUDGED = StylePictures((run("a", 0), run("a", 1), run("b", 2)), (run("x", 3, 1), run("y", 4, 1)))


def still(pictures: Tensor) -> Tensor:
    return torch.zeros_like(pictures)


def test_what_comes_back_whole_has_no_error_and_all_of_the_change() -> None:
    found = reconstruction_figures(nn.Identity(), lambda pictures: pictures, JUDGED, face=4)

    assert found["error"] == found["error/batch_norms_training"] == 0
    assert found["change"] == 1
    assert found["error/mean_picture"] > 0.3


def test_what_never_moves_has_none_of_the_change() -> None:
    found = reconstruction_figures(nn.Identity(), still, JUDGED, face=4)

    assert found["change"] == pytest.approx(0, abs=1e-5)
    assert found["error"] > 0.3
    assert found["psnr"] < 12


def test_nobody_to_judge_by_gives_no_figures() -> None:
    assert reconstruction_figures(nn.Identity(), still, StylePictures(()), face=4) == {}
    assert sheet_rows(still, StylePictures(())) == []


def test_frames_are_spread_over_the_run() -> None:
    assert spread(run("a", 0), 4) == [0, 2, 4, 6]
    assert spread(run("a", 0, frames=1), 4) == [0]
    assert sampled(JUDGED, frames=4).shape == (3 * 4 + 2, 3, 16, 16)


def test_a_sheet_has_a_row_per_identity_and_one_of_photos() -> None:
    rows = sheet_rows(still, JUDGED, columns=6)

    assert [len(originals) for originals, _ in rows] == [6, 6, 2]
    assert all(originals.shape == returned.shape for originals, returned in rows)
