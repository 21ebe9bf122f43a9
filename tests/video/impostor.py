"""A decoder that was taken over: an installation of its own whose child says what a test has it say."""

from __future__ import annotations

import shutil
from pathlib import Path

from styleflow.video import wire

PRELUDE = """
import json, os, signal, sys, time
from styleflow.video.wire import Head, Kind

FACTS = dict(container="mpegts", codec="h264", stream_index=0, coded_width=4, coded_height=2, pixel_aspect=1.0,
             frame_rate=25.0, duration_seconds=100.0, frame_count=None, has_audio=False, size_bytes=1,
             rotation_degrees=0, width=4, height=2)

def send(head, payload=b""):
    rest = memoryview(head.pack() + payload)
    while rest:
        rest = rest[os.write(1, rest):]

def say(kind, value):
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    send(Head(kind, payload_bytes=len(payload)), payload)

def frame(index, seconds=None, segment=0):
    seconds = index / 25 if seconds is None else seconds
    send(Head(Kind.FRAME, 24, segment, index, seconds, 4, 2), bytes(24))

def facts_and_plan(**changes):
    say(Kind.FACTS, {**FACTS, **changes})
    return json.loads(sys.stdin.buffer.readline())

def end(damaged=0):
    send(Head(Kind.END, index=damaged))

def ticks(pause):
    while True:
        send(Head(Kind.TICK))
        time.sleep(pause)

sys.stdin.buffer.readline()
say(Kind.READY, {"layers": LAYERS})
"""


def impostor(folder: Path, script: str, *, layers: tuple[str, ...] = ()) -> Path:
    """The root of an installation to start a decoder from; `script` goes on after the greeting."""
    package = folder / "styleflow" / "video"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    shutil.copy(wire.__file__, package / "wire.py")
    (package / "sandbox_child.py").write_text(f"LAYERS = {list(layers)!r}\n{PRELUDE}\n{script}\n")
    return folder
