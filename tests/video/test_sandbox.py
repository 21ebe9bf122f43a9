from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from styleflow import errors
from styleflow.errors import CorruptMedia, InternalFailure, MediaError
from styleflow.report import MediaFacts
from styleflow.video import decoder_process
from styleflow.video.clips import Sampling, SamplingPlan, plan_sampling
from styleflow.video.confinement import Layer
from styleflow.video.decoder_process import confinement_here
from styleflow.video.sandbox import Frame, MediaLimits, SandboxLimits, open_video
from tests import media
from tests.video.impostor import impostor
from tests.video.readers import FULL, count_frames, frames_of, gone_within, is_gone, state_of

ROOT = Path(__file__).parents[2]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def read(path: Path, sampling: Sampling = FULL) -> tuple[MediaFacts, list[Frame], MediaError | None]:
    with open_video(path) as reader:
        frames = list(reader.frames(plan_sampling(reader.facts, sampling)))
        return reader.facts, frames, reader.decode_error


# --- what comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "size", "count"),
    [
        ("grid-lrwp9a.mpg", "mpeg1video", (360, 288), 75),
        ("grid-swiz3n.mpg", "mpeg1video", (360, 288), 75),
        ("intel-asl-book.mkv", "h264", (640, 480), 109),
        ("anitalker-aiface3.mp4", "h264", (256, 256), 100),
        ("anitalker-aiface4.mp4", "h264", (256, 256), 100),
    ],
)
def test_a_sample_video_gives_all_its_frames(name: str, codec: str, size: tuple[int, int], count: int) -> None:
    facts, frames, error = read(media.SAMPLES / name)
    assert (facts.codec, (facts.width, facts.height), len(frames), error) == (codec, size, count, None)
    assert frames[0].time_seconds == 0.0


def test_frames_arrive_whole_in_order_and_are_the_callers_own(clip: Path) -> None:
    _, frames, _ = read(clip)
    assert [media.read_number(frame.pixels) for frame in frames] == list(range(75))
    assert {(frame.pixels.shape, frame.pixels.dtype.name) for frame in frames} == {((128, 192, 3), "uint8")}
    frames[0].pixels[:] = 7
    assert media.read_number(frames[1].pixels) == 1


def test_facts_speak_of_the_displayed_picture(tmp_path: Path) -> None:
    facts, frames, _ = read(media.rotated_clip(tmp_path / "a.mp4", 90))
    assert (facts.width, facts.height, facts.rotation_degrees) == (64, 96, 90)
    assert frames[0].pixels.shape == (96, 64, 3)


def test_a_uniform_plan_arrives_in_segments(tmp_path: Path) -> None:
    path = media.plain_clip(tmp_path / "a.mp4", seconds=10)
    _, frames, _ = read(path, Sampling(mode="uniform", clips=3))
    assert [frame.segment for frame in frames] == [0] * 32 + [1] * 32 + [2] * 32
    assert [media.read_number(frame.pixels) for frame in frames] == [frame.index for frame in frames]


@pytest.mark.parametrize("cover", [False, True])
def test_a_file_with_sound_alone_has_facts_and_no_frames(tmp_path: Path, *, cover: bool) -> None:
    facts, frames, error = read(media.audio_only(tmp_path / "a.mp4", cover=cover))
    assert (facts.codec, facts.width, facts.has_audio) == (None, None, True)
    assert (frames, error) == ([], None)


def test_frames_can_be_asked_for_once(clip: Path) -> None:
    with open_video(clip) as reader:
        next(frames_of(reader))
        with pytest.raises(RuntimeError, match="once"):
            next(frames_of(reader))


# --- what is refused, and what is broken ----------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (media.empty_file, errors.ContainerUnsupported),
        (media.text_file, errors.ContainerUnsupported),
        (media.zip_file, errors.ContainerUnsupported),
        (lambda path: media.plain_clip(path, seconds=0.2, rate=240), errors.ResolutionLimit),
    ],
)
def test_a_refused_file_raises_its_error_without_naming_the_path(
    tmp_path: Path, make: Callable[[Path], Path], expected: type[MediaError]
) -> None:
    with pytest.raises(MediaError) as caught, open_video(make(tmp_path / "a.mp4")):
        pass
    assert type(caught.value) is expected
    assert str(tmp_path) not in str(caught.value)


def test_a_playlist_reaches_no_other_file(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(errors.ContainerUnsupported), open_video(media.playlist_file(tmp_path / "a.m3u8", clip)):
        pass


def test_a_folder_and_a_pipe_are_no_videos(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(errors.ContainerUnsupported), open_video(path):
            pass


def test_a_missing_file_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_video(tmp_path / "none.mp4"):
        pass


def test_a_file_too_large_is_refused(clip: Path) -> None:
    with pytest.raises(errors.TooLarge), open_video(clip, MediaLimits(max_bytes=100)):
        pass


def test_a_stream_that_breaks_ends_early_and_says_so(tmp_path: Path, clip: Path) -> None:
    _, frames, error = read(media.truncated(clip, tmp_path / "a.mp4", 0.6))
    assert 0 < len(frames) < 75
    assert isinstance(error, CorruptMedia)


def test_a_stream_without_one_good_frame_is_corrupt(tmp_path: Path, clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(CorruptMedia):
        read(tmp_path / "a.mp4")


def test_sixty_damaged_files_give_typed_errors_and_no_hang(tmp_path: Path, clip: Path) -> None:
    sources = [
        clip,
        media.plain_clip(tmp_path / "s.mkv", seconds=1),
        media.plain_clip(tmp_path / "s.ts", seconds=1, codec="mpeg2video"),
        media.plain_clip(tmp_path / "s.avi", seconds=1, codec="mpeg4"),
    ]

    def attempt(seed: int) -> str:
        source = sources[seed % len(sources)]
        path = media.mutated(source, tmp_path / f"{seed}{source.suffix}", seed)
        try:
            with open_video(path, sandbox=SandboxLimits(stall_seconds=10.0)) as reader:
                count = count_frames(reader)
                return "whole" if reader.decode_error is None and count else "broken"
        except MediaError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(attempt, range(60)))
    assert not {"decoder_crash", "decode_timeout"} & set(outcomes)
    assert {"whole", "broken", "corrupt_media"} <= set(outcomes)


# --- confinement and leftovers --------------------------------------------------------------------


def test_leaving_in_the_middle_ends_the_decoder(clip: Path) -> None:
    with open_video(clip) as reader:
        next(frames_of(reader))
        assert not is_gone(reader.pid)
    assert is_gone(reader.pid)


def test_an_error_of_the_caller_ends_the_decoder_and_goes_through(clip: Path) -> None:
    pids = []

    def cancelled_in_the_middle() -> None:
        with open_video(clip) as reader:
            pids.append(reader.pid)
            next(frames_of(reader))
            raise errors.Cancelled

    with pytest.raises(errors.Cancelled):
        cancelled_in_the_middle()
    assert is_gone(pids[0])


def test_no_descriptor_stays_open(clip: Path, tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    read(clip)
    with contextlib.suppress(MediaError):
        read(media.text_file(tmp_path / "a.mp4"))
    assert len(os.listdir("/dev/fd")) == before


@ON_LINUX
def test_the_decoder_sees_no_secret_and_no_file_of_ours(
    monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("STYLEFLOW_SECRET", "do-not-tell")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    with (tmp_path / "secret").open("w") as secret, open_video(clip) as reader:
        os.set_inheritable(secret.fileno(), True)
        with open_video(clip) as second:
            environment = Path(f"/proc/{second.pid}/environ").read_bytes()
            held = {os.readlink(entry) for entry in Path(f"/proc/{second.pid}/fd").iterdir()}
        assert b"do-not-tell" not in environment
        assert str(tmp_path / "secret") not in held
        assert str(clip) in held
        assert not is_gone(reader.pid)


@ON_LINUX
def test_the_decoder_is_confined_before_it_opens_the_video(clip: Path) -> None:
    with open_video(clip, sandbox=SandboxLimits(cpu_seconds=77)) as reader:
        status = Path(f"/proc/{reader.pid}/status").read_text()
        limits = Path(f"/proc/{reader.pid}/limits").read_text().splitlines()
    assert "NoNewPrivs:\t1" in status
    assert "Threads:\t1\n" in status
    assert ("Seccomp:\t2" in status) == (Layer.SECCOMP in reader.layers)
    values = {line[:25].strip(): line[25:].split()[:2] for line in limits}
    assert values["Max address space"] == [str(2 * 2**30)] * 2
    assert values["Max cpu time"] == ["77", "82"]
    assert values["Max file size"] == ["0", "0"]
    assert values["Max open files"] == ["32", "32"]


@pytest.mark.parametrize("layers", [(), ("network", "landlock"), ("seccomp",)])
def test_a_decoder_confined_less_well_than_is_required_gets_no_video(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clip: Path, layers: tuple[str, ...]
) -> None:
    installation = impostor(tmp_path, "facts_and_plan(); end()", layers=layers)
    monkeypatch.setattr(decoder_process, "PACKAGE_ROOT", installation)
    with open_video(clip, sandbox=SandboxLimits()) as reader:
        assert reader.layers == set(layers)
    required = SandboxLimits(confinement_required=True)
    with (
        pytest.raises(InternalFailure, match=r"Landlock and seccomp\. What holds: "),
        open_video(clip, sandbox=required),
    ):
        pass
    with pytest.raises(InternalFailure, match="cannot be confined"):
        confinement_here(required)


@ON_LINUX
def test_what_confines_a_decoder_here_can_be_asked_without_a_video(clip: Path) -> None:
    with open_video(clip) as reader:
        assert confinement_here(SandboxLimits()) == reader.layers
    pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    assert str(reader.pid) not in pids.split()


@ON_LINUX
def test_the_decoder_dies_with_its_parent(clip: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from styleflow.video.sandbox import open_video\n"
        "with open_video(Path(sys.argv[1])) as reader:\n"
        "    print(reader.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(clip)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
    assert gone_within(pid, 10)


def test_the_decoder_imports_neither_torch_nor_the_service() -> None:
    code = "import sys, styleflow.video.sandbox_child; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "cv2", "pydantic", "sqlalchemy", "celery", "boto3", "fastapi", "httpx", "PIL"}


def peak_kilobytes(pid: int | None) -> int:
    """Of a process; 0 once it has ended and only waits to be buried."""
    found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


@ON_LINUX
def test_memory_of_the_decoder_does_not_grow_with_the_length_of_the_video(tmp_path: Path) -> None:
    def peak(minutes: float) -> int:
        path = media.long_face_clip(tmp_path / f"{minutes}.mp4", minutes=minutes, width=1280, height=720)
        with open_video(path) as reader:
            plan = plan_sampling(reader.facts, Sampling(mode="uniform", clips=8))
            peaks = [peak_kilobytes(reader.pid) for _ in reader.frames(plan)]
        assert len(peaks) == 8 * 32
        return max(peaks)

    assert peak(10) <= 1.1 * peak(1)


@ON_LINUX
def test_the_decoder_waits_while_nobody_reads(tmp_path: Path) -> None:
    path = media.long_face_clip(tmp_path / "a.mp4", minutes=0.5)
    with open_video(path) as reader:
        frames = frames_of(reader)
        next(frames)
        while not all(state_of(reader.pid) == "S" for _ in range(200)):
            pass
        assert bytes_read(reader.pid, path) < path.stat().st_size / 2
        assert len(list(itertools.islice(frames, 3))) == 3


def bytes_read(pid: int, path: Path) -> int:
    """How far a process has read in a file it holds open."""
    (fd, *_) = (e.name for e in Path(f"/proc/{pid}/fd").iterdir() if os.readlink(e) == str(path))
    return int(Path(f"/proc/{pid}/fdinfo/{fd}").read_text().split()[1])


def test_a_plan_of_a_reader_may_end_early_at_its_cap(clip: Path) -> None:
    with open_video(clip) as reader:
        plan = replace(plan_sampling(reader.facts, FULL), max_frames=10)
        assert isinstance(plan, SamplingPlan)
        frames = list(reader.frames(plan))
    assert len(frames) == 10
    assert np.all(np.diff([frame.time_seconds for frame in frames]) > 0)
