"""The decoder's child must have loaded everything before it confines itself.

Afterwards it is another user, who may not be able to read the interpreter's own folder (a checkout under a 0700 home).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from styleflow.video import decoder_process
from styleflow.video.clips import SamplingPlan
from styleflow.video.confinement import Layer
from styleflow.video.probe import MediaLimits
from styleflow.video.sandbox import SandboxLimits
from styleflow.video.wire import HEAD, Head, Kind
from tests import media
from tests.media import plain_clip

SAMPLES = Path(__file__).parent.parent.parent / "samples"

PROGRAM = """
import json, os, sys
from styleflow.video import sandbox_child
from styleflow.video.probe import MediaLimits
from dataclasses import asdict

loaded = set(sys.modules)

class Silent:
    def send(self, head, payload=b""): pass
    def send_json(self, kind, value): pass
    def tick(self): pass

limits = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(MediaLimits()).items()}
plan = {"mode": "uniform", "starts_seconds": [0.0, 0.5], "clip_frames": 4, "max_frames": 8, "truncated": True,
        "clips_planned": 2, "end_seconds": None}
fd = os.open(sys.argv[1], os.O_RDONLY)
task = {"fd": fd, "size_bytes": os.path.getsize(sys.argv[1]), "limits": limits}
try:
    sandbox_child.decode(task, Silent(), lambda: json.dumps(plan).encode())
    said = "decoded"
except Exception as error:
    said = type(error).__name__
sys.stdout.write(json.dumps({"said": said, "late": sorted(set(sys.modules) - loaded)}))
"""


def late_imports(video: Path) -> tuple[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, video], capture_output=True, check=True)
    said = json.loads(done.stdout)
    return said["said"], said["late"]


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.glob("*.m*") if path.suffix != ".md"))
def test_decoding_a_sample_imports_nothing_late(sample: str) -> None:
    assert late_imports(SAMPLES / sample) == ("decoded", [])


def test_refusing_a_broken_file_imports_nothing_late(tmp_path: Path) -> None:
    broken = media.truncated(plain_clip(tmp_path / "whole.mp4"), tmp_path / "broken.mp4", keep=0.5)

    said, late = late_imports(broken)

    assert late == []
    assert said in {"CorruptMedia", "ContainerUnsupported"}


CHILD = """
import os, sys
from styleflow.video import confinement, sandbox_child
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(10001, 10001, 10001); os.setresuid(10001, 10001, 10001)
# Many containers forbid namespaces; the filters have to do without.
confinement.CLONE_NEWUSER = confinement.CLONE_NEWNET = -1
{change}
sandbox_child.main()
"""


def heard(video: Path, plan: SamplingPlan, change: str = "") -> list[tuple[Head, bytes]]:
    """All that a decoder says whose worker is not root, nor may make namespaces."""
    fd = os.open(video, os.O_RDONLY)
    try:
        task = decoder_process.task(fd, video.stat().st_size, MediaLimits(), SandboxLimits(confinement_required=True))
        done = subprocess.run(
            [sys.executable, "-c", CHILD.format(change=change)],
            input="".join(json.dumps(line) + "\n" for line in (task, asdict(plan))).encode(),
            cwd=Path(__file__).parents[2],
            pass_fds=(fd,),
            capture_output=True,
            timeout=60,
        )
    finally:
        os.close(fd)
    return list(messages(done.stdout))


def messages(data: bytes) -> Iterator[tuple[Head, bytes]]:
    while data:
        kind, *rest = HEAD.unpack(data[: HEAD.size])
        head = Head(Kind(kind), *rest)
        yield head, data[HEAD.size : HEAD.size + head.payload_bytes]
        data = data[HEAD.size + head.payload_bytes :]


def filters_hold(said: list[tuple[Head, bytes]]) -> bool:
    return set(json.loads(said[0][1])["layers"]) == {Layer.LANDLOCK, Layer.SECCOMP}


FEW = SamplingPlan(
    mode="uniform", starts_seconds=(0.0, 1.5), clip_frames=4, max_frames=8, truncated=True, clips_planned=2
)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "mpg"])
def test_a_worker_that_is_not_root_decodes_behind_both_filters(tmp_path: Path, suffix: str) -> None:
    codec = {"mpg": "mpeg1video", "avi": "mpeg4"}.get(suffix, "libx264")
    video = plain_clip(tmp_path / f"a.{suffix}", seconds=3, codec=codec)
    said = heard(video, FEW)
    if not filters_hold(said):
        pytest.skip("this kernel or container permits not both filters")
    kinds = [head.kind for head, _ in said]
    assert kinds == [Kind.READY, Kind.FACTS, *[Kind.FRAME] * 8, Kind.END]
    assert [head.index for head, _ in said[2:6]] == [0, 1, 2, 3]


@pytest.mark.parametrize("late", ["import colorsys", "open('/etc/hostname')"])
def test_what_was_not_loaded_in_time_is_not_the_videos_fault(tmp_path: Path, late: str) -> None:
    change = f"def decode(*_: object) -> None:\n    {late}\nsandbox_child.decode = decode"
    said = heard(plain_clip(tmp_path / "a.mp4"), FEW, change)
    if not filters_hold(said):
        pytest.skip("this kernel or container permits not both filters")
    (_, (head, payload)) = said
    report: Any = json.loads(payload)
    assert (head.kind, report["error"]) == (Kind.ERROR, "InternalFailure")


def test_a_decoder_that_may_not_start_so_weakly_confined_does_not_touch_the_video(tmp_path: Path) -> None:
    change = "confinement.give_up_calls = lambda _: False"
    ((head, payload),) = heard(plain_clip(tmp_path / "a.mp4"), FEW, change)
    assert head.kind is Kind.READY
    assert Layer.SECCOMP not in json.loads(payload)["layers"]
