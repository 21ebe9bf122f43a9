from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from styleflow.errors import ContainerUnsupported
from styleflow.evaluation.perturbations import (
    PERTURBATIONS,
    SEVERITIES,
    PerturbationName,
    perturb_video,
    perturbation_name,
    picture_change,
    write_h264,
)
from styleflow.video.clips import Sampling, plan_sampling
from styleflow.video.sandbox import open_video
from tests.media import face_picture, plain_clip, text_file

PICTURE = np.ascontiguousarray(face_picture()[:256, :256])
ON_FRAMES = tuple(name for name in PERTURBATIONS if name != "compression")


def changed(name: PerturbationName | None, severity: int, picture: NDArray[np.uint8] = PICTURE) -> NDArray[np.uint8]:
    return picture_change(name, severity)(picture, np.random.default_rng(0))


def distance(picture: NDArray[np.uint8]) -> float:
    return float(np.abs(picture.astype(float) - PICTURE).mean())


def frames(path: Path) -> list[NDArray[np.uint8]]:
    with open_video(path) as video:
        return [frame.pixels for frame in video.frames(plan_sampling(video.facts, Sampling(mode="full")))]


def test_there_are_seven_perturbations_of_five_severities() -> None:
    assert len(PERTURBATIONS) == 7
    assert {len(values) for values in SEVERITIES.values()} == {5}


@pytest.mark.parametrize("name", ON_FRAMES)
def test_every_severity_spoils_more_than_the_one_before(name: PerturbationName) -> None:
    spoiled = [distance(changed(name, severity)) for severity in range(1, 6)]

    assert spoiled[0] > 0
    assert spoiled == sorted(spoiled)


@pytest.mark.parametrize("name", ON_FRAMES)
def test_size_type_and_the_original_stay_as_they_are(name: PerturbationName) -> None:
    before = PICTURE.copy()
    after = changed(name, 5)

    assert (after.shape, after.dtype) == (PICTURE.shape, np.uint8)
    assert (before == PICTURE).all()


def test_severity_five_of_saturation_leaves_grey() -> None:
    assert np.ptp(changed("saturation", 5).astype(int), axis=2).max() <= 2


def test_contrast_scales_every_level() -> None:
    assert np.abs(changed("contrast", 1) - PICTURE * 0.85).max() <= 0.5


def test_blocks_are_grey_and_as_many_as_the_frame_is_large() -> None:
    black = np.zeros((512, 600, 3), np.uint8)
    spoiled = changed("blocks", 1, black)

    assert set(np.unique(spoiled)) == {0, 128}
    assert 0.8 * 32 * 64 <= (spoiled[..., 0] == 128).sum() <= 32 * 64


def test_noise_has_the_variance_that_is_stated() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    luma = changed("gaussian_noise", 3, grey) @ np.asarray([0.299, 0.587, 0.114])

    assert (luma / 255).var() == pytest.approx(0.005, rel=0.1)


def test_a_severity_outside_one_to_five_is_refused() -> None:
    for severity in (0, 6):
        with pytest.raises(ValueError, match="severity"):
            picture_change("blocks", severity)


def test_a_perturbed_video_keeps_its_frames_size_and_rate(tmp_path: Path) -> None:
    source, target = plain_clip(tmp_path / "plain.mp4", rate=30, seconds=1), tmp_path / "out.mp4"
    perturb_video(source, target, "gaussian_blur", 5, seed=0)

    with open_video(target) as video:
        assert (video.facts.width, video.facts.height) == (192, 128)
        assert video.facts.frame_rate == pytest.approx(30)
    assert len(frames(target)) == 30


def test_the_reference_hardly_differs_from_its_source(tmp_path: Path) -> None:
    source, target = plain_clip(tmp_path / "plain.mp4", seconds=0.4), tmp_path / "out.mp4"
    perturb_video(source, target, None, seed=0)

    far = [np.abs(a.astype(int) - b).mean() for a, b in zip(frames(source), frames(target), strict=True)]
    assert max(far) < 2


def test_compression_makes_a_smaller_file_at_every_severity(tmp_path: Path) -> None:
    source, sizes = tmp_path / "face.mp4", []
    assert write_h264(source, [PICTURE] * 12, rate=25, crf=10) == 12
    for severity in range(1, 6):
        perturb_video(source, tmp_path / "out.mp4", "compression", severity, seed=0)
        sizes.append((tmp_path / "out.mp4").stat().st_size)

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] < source.stat().st_size


def test_the_same_seed_spoils_the_same_way_and_frames_differ(tmp_path: Path) -> None:
    source = tmp_path / "still.mp4"
    write_h264(source, [PICTURE] * 3, rate=25, crf=10)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        perturb_video(source, tmp_path / f"{name}.mp4", "blocks", 3, seed=seed)
    first, again, other = (frames(tmp_path / f"{name}.mp4") for name in "abc")

    assert all((x == y).all() for x, y in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()
    assert np.abs(first[0].astype(int) - first[1]).max() > 50


def test_only_the_clips_that_are_asked_for_are_stored(tmp_path: Path) -> None:
    source, target = plain_clip(tmp_path / "plain.mp4", seconds=3), tmp_path / "out.mp4"
    perturb_video(source, target, None, seed=0, max_clips=1)

    assert len(frames(target)) == 32


def test_an_odd_last_row_and_column_are_left_out(tmp_path: Path) -> None:
    write_h264(tmp_path / "odd.mp4", [np.zeros((65, 97, 3), np.uint8)] * 2, rate=25, crf=10)

    assert frames(tmp_path / "odd.mp4")[0].shape == (64, 96, 3)


def test_what_is_no_video_raises_its_error(tmp_path: Path) -> None:
    with pytest.raises(ContainerUnsupported):
        perturb_video(text_file(tmp_path / "letter.mp4"), tmp_path / "out.mp4", "blocks", 1, seed=0)


def test_a_perturbation_is_called_by_name_and_severity() -> None:
    assert perturbation_name("gaussian_blur", 3) == "gaussian_blur:3"
    assert perturbation_name(None, 1) == "none"
