"""A decoder that was taken over can send what it likes, when it likes: it gets an error, never a worker's time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from styleflow.errors import Cancelled, DecoderCrash, DecodeTimeout, InternalFailure, JobError
from styleflow.video import decoder_process
from styleflow.video.clips import Sampling, SamplingPlan, plan_sampling
from styleflow.video.sandbox import Frame, SandboxLimits, open_video
from tests.video.impostor import impostor
from tests.video.readers import FULL, is_gone, state_of, until

Read = Callable[..., int]
QUICK = SandboxLimits(stall_seconds=0.5, frame_seconds=1.0, total_seconds=1.5)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """Read a video whose decoder follows a script; returns the number of frames."""

    def read(script: str, *, sampling: Sampling = FULL, sandbox: SandboxLimits = QUICK) -> int:
        monkeypatch.setattr(decoder_process, "PACKAGE_ROOT", impostor(tmp_path / "installation", script))
        video = tmp_path / "a.ts"
        video.write_bytes(bytes(1000))
        with open_video(video, sandbox=sandbox) as reader:
            return sum(1 for _ in reader.frames(plan_sampling(reader.facts, sampling)))

    return read


def test_an_impostor_that_behaves_is_read(read: Read) -> None:
    """So that the tests below can fail."""
    assert read("facts_and_plan(); [frame(n) for n in range(40)]; end()") == 40


@pytest.mark.parametrize(
    "script",
    [
        "ticks(0.3)",
        "facts_and_plan(); ticks(0.3)",
        "facts_and_plan(); frame(0); ticks(0.3)",
        "time.sleep(60)",
        "facts_and_plan()\nfor n in range(1000):\n    frame(n); time.sleep(0.2)",
        "facts_and_plan()\nfor byte in bytes(200):\n    os.write(1, b'\\x03'); time.sleep(0.2)",
    ],
    ids=["no facts", "no frame", "no second frame", "silence", "a frame now and then", "a byte now and then"],
)
def test_signs_of_life_do_not_hold_a_worker_for_ever(read: Read, script: str) -> None:
    started = time.monotonic()
    with pytest.raises(DecodeTimeout):
        read(script)
    assert time.monotonic() - started < 15.0


def test_a_plan_that_nobody_reads_does_not_hold_a_worker(read: Read) -> None:
    with pytest.raises(DecodeTimeout):
        read(
            "say(Kind.FACTS, {**FACTS, 'duration_seconds': 14400.0}); time.sleep(60)",
            sampling=Sampling(mode="uniform", clips=10_000),
        )


@pytest.mark.parametrize(
    "script",
    [
        "ticks(0)",
        "facts_and_plan(); ticks(0)",
        "facts_and_plan(); [frame(n) for n in range(10 ** 9)]",
        "facts_and_plan(); frame(1); frame(1, 9.0)",
        "facts_and_plan(); frame(1); frame(0, 9.0)",
        "facts_and_plan(); frame(0, 1.0); frame(1, 1.0)",
        "facts_and_plan(); frame(0, 1.0); frame(1, 0.5)",
        "facts_and_plan(); frame(0, -1.0)",
        "facts_and_plan(); frame(-1, 0.0)",
        "facts_and_plan(); frame(2 ** 31, 0.0)",
        "facts_and_plan(); frame(0, 1e300)",
        "facts_and_plan(); frame(0, float('nan'))",
        "facts_and_plan(); frame(0, segment=1)",
        "facts_and_plan(); end(-1)",
        "facts_and_plan(); say(Kind.FACTS, FACTS)",
        "say(Kind.ERROR, b'[' * 60000)",
        "say(Kind.ERROR, b'not json')",
        "say(Kind.FACTS, b'[' * 60000)",
        "pass",
    ],
)
def test_what_a_plan_does_not_have_is_a_crash_of_the_decoder(read: Read, script: str) -> None:
    with pytest.raises(DecoderCrash):
        # It ends as it should, so that nothing but what it said can be the crash.
        read(f"{script}; end()", sampling=Sampling(mode="full", max_clips=4), sandbox=SandboxLimits(stall_seconds=20))


def test_no_more_frames_are_handed_out_than_were_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = "facts_and_plan(); [frame(n) for n in range(10 ** 9)]"
    monkeypatch.setattr(decoder_process, "PACKAGE_ROOT", impostor(tmp_path / "installation", script))
    (tmp_path / "a.ts").write_bytes(bytes(1000))
    plan = SamplingPlan(mode="full", starts_seconds=(0.0,), max_frames=7, truncated=False, clips_planned=0)
    handed_out: list[Frame] = []
    with open_video(tmp_path / "a.ts") as reader, pytest.raises(DecoderCrash, match="asked for"):
        handed_out.extend(reader.frames(plan))
    assert len(handed_out) == 7


@pytest.mark.parametrize(
    ("named", "expected"),
    [("InternalFailure", InternalFailure), ("NotFound", DecoderCrash), ("LeaseLost", DecoderCrash)],
)
def test_only_errors_that_are_a_decoders_to_name_are_taken_over(
    read: Read, named: str, expected: type[JobError]
) -> None:
    with pytest.raises(JobError) as caught:
        read(f"say(Kind.ERROR, {{'error': '{named}', 'message': 'anything'}})")
    assert type(caught.value) is expected
    assert "anything" not in str(caught.value)


def test_a_message_of_the_decoder_holds_nothing_that_cannot_be_stored() -> None:
    said = decoder_process.reported_error({"error": "CorruptMedia", "message": "a\x00b\ud800c\n" + 400 * "d"})
    assert str(said).startswith("abcd")
    assert len(str(said)) <= 300


@pytest.mark.parametrize("before", ["", "facts_and_plan();", "facts_and_plan(); frame(0);"])
@pytest.mark.parametrize("then", ["time.sleep(60)", "ticks(1.0)"])
def test_the_caller_can_leave_while_the_decoder_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str, then: str
) -> None:
    """Cancelling a job does not have to wait for a frame, nor for a word of the decoder."""
    monkeypatch.setattr(decoder_process, "PACKAGE_ROOT", impostor(tmp_path / "installation", before + then))
    (tmp_path / "a.ts").write_bytes(bytes(1000))
    started = time.monotonic()

    def cancelled_after_a_second() -> None:
        if time.monotonic() - started > 1.0:
            raise Cancelled

    with pytest.raises(Cancelled), open_video(tmp_path / "a.ts", tick=cancelled_after_a_second) as reader:
        for _ in reader.frames(plan_sampling(reader.facts, FULL), tick=cancelled_after_a_second):
            pass
    assert time.monotonic() - started < 10.0


def test_the_caller_is_told_of_waiting_at_most_about_twice_a_second(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = "facts_and_plan(); [(send(Head(Kind.TICK)), time.sleep(0.15)) for _ in range(10)]; end()"
    monkeypatch.setattr(decoder_process, "PACKAGE_ROOT", impostor(tmp_path / "installation", script))
    (tmp_path / "a.ts").write_bytes(bytes(1000))
    told: list[float] = []
    with open_video(tmp_path / "a.ts") as reader:
        list(reader.frames(plan_sampling(reader.facts, FULL), tick=lambda: told.append(time.monotonic())))
    assert len(told) >= 2
    assert all(after - before >= 0.49 for before, after in pairwise(told))


WORKER = """
import sys
from pathlib import Path
from styleflow.video import decoder_process
from styleflow.video.clips import Sampling, plan_sampling
from styleflow.video.sandbox import Frame, SandboxLimits, open_video
decoder_process.PACKAGE_ROOT = Path(sys.argv[1])
with open_video(Path(sys.argv[2]), sandbox=SandboxLimits(stall_seconds=1.5)) as reader:
    print(reader.pid, flush=True)
    print(sum(1 for _ in reader.frames(plan_sampling(reader.facts, Sampling(mode="full")))), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_decoder_is_not_given_up_for_a_pause_of_the_worker(tmp_path: Path) -> None:
    """A machine that was suspended, or a worker that was stopped, goes on where it was."""
    root = impostor(
        tmp_path / "installation", "facts_and_plan(); os.kill(os.getpid(), signal.SIGSTOP); frame(0); end()"
    )
    (tmp_path / "a.ts").write_bytes(bytes(1000))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), str(tmp_path / "a.ts")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as worker:
        assert worker.stdout is not None
        try:
            decoder = int(worker.stdout.readline())
            assert until(lambda: state_of(decoder) == "T", 10)
            os.kill(worker.pid, signal.SIGSTOP)
            assert until(lambda: state_of(worker.pid) == "T", 10)
            time.sleep(2.0)
            os.kill(worker.pid, signal.SIGCONT)
            time.sleep(0.2)
            os.kill(decoder, signal.SIGCONT)
            assert worker.stdout.readline() == b"1\n"
        finally:
            worker.kill()
    assert until(lambda: is_gone(decoder), 10)
