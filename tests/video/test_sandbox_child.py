"""The decoder's child must have loaded everything before it confines itself.

Afterwards it is another user, who may not be able to read the interpreter's own folder (a checkout under a 0700 home).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
