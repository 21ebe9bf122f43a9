from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from styleflow import errors
from styleflow.errors import DecoderCrash, DecodeTimeout, InternalFailure
from styleflow.video import decoder_process
from styleflow.video.inlet import Inlet
from styleflow.video.sandbox import SandboxLimits, open_video
from tests import media
from tests.video.readers import count_frames, frames_of, is_gone


def test_a_decoder_killed_in_mid_stream_is_a_crash(clip: Path) -> None:
    with open_video(clip) as reader:
        frames = frames_of(reader)
        next(frames)
        os.kill(reader.pid, signal.SIGKILL)
        with pytest.raises(DecoderCrash, match="Killed"):
            list(frames)
        assert reader.decode_error is None


def test_a_decoder_killed_before_its_first_frame_is_a_crash(clip: Path) -> None:
    with open_video(clip) as reader:
        os.kill(reader.pid, signal.SIGSEGV)
        with pytest.raises(DecoderCrash, match="Segmentation"):
            next(frames_of(reader))


def test_a_decoder_that_stalls_is_given_up_after_the_time_allowed(clip: Path) -> None:
    with open_video(clip, sandbox=SandboxLimits(stall_seconds=0.3)) as reader:
        os.kill(reader.pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(DecodeTimeout):
            next(frames_of(reader))
        assert 0.3 <= time.monotonic() - started < 5.0
    assert is_gone(reader.pid)


def test_a_video_that_needs_more_memory_than_allowed_is_over_the_resolution_limit(tmp_path: Path) -> None:
    path = media.eight_k_clip(tmp_path / "a.mp4", frames=1)
    limits = SandboxLimits(memory_bytes=320 * 2**20)
    with pytest.raises(errors.ResolutionLimit, match="memory"), open_video(path, sandbox=limits) as reader:
        list(frames_of(reader))


def test_a_tiny_file_of_enormous_pictures_fits_the_memory_allowed(tmp_path: Path) -> None:
    path = media.eight_k_clip(tmp_path / "a.mp4", frames=1)
    assert path.stat().st_size < 200_000
    with open_video(path) as reader:
        assert [frame.pixels.shape for frame in frames_of(reader)] == [(4320, 8192, 3)]


def test_a_decoder_that_uses_up_its_processor_time_is_a_crash(tmp_path: Path) -> None:
    path = media.long_face_clip(tmp_path / "a.mp4", minutes=1)
    limits = SandboxLimits(cpu_seconds=1)
    with open_video(path, sandbox=limits) as reader, pytest.raises(DecoderCrash, match="processor time"):
        count_frames(reader)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("printf 'this is no head of any message at all'; cat", "no message"),
        ("exit 3", "before it was done"),
    ],
)
def test_a_decoder_that_talks_nonsense_or_just_leaves_is_a_crash(script: str, message: str) -> None:
    """A child that was taken over can send whatever it likes."""
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        try:
            decoder = decoder_process.DecoderProcess(child, Inlet(child))
            with pytest.raises(DecoderCrash, match=message):
                decoder.receive(4, 4)
        finally:
            child.kill()


def test_an_installation_that_cannot_decode_is_not_the_videos_fault(
    monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "styleflow"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('half an installation')")
    monkeypatch.setattr(decoder_process, "PACKAGE_ROOT", tmp_path)
    with pytest.raises(InternalFailure, match="started"), open_video(clip):
        pass


@pytest.mark.parametrize("report", [{}, [], {"error": "SystemExit"}, {"error": "NotFound"}, {"error": "Any"}, None])
def test_an_error_report_of_no_known_kind_is_a_crash(report: object) -> None:
    assert type(decoder_process.reported_error(report)) is DecoderCrash
