"""Peak memory of a worker and its decoder child on a long video: it must not grow with the video's length.

    python -m benchmarks.worker_memory [MINUTES …]

Draws a 1080p video with a face in every frame per length, analyses each in a fresh process with the analyzer of the
worker (`uniform`, 64 clips), and prints the highest resident memory of the process, of its decoder, and of both at
the same moment, read from /proc every 20 ms.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from styleflow.models.sizes import COMPACT
from styleflow.models.weights import write_random_pack
from tests import media

PROGRAM = """
import sys
from pathlib import Path
from styleflow.settings import Settings
from worker.analyzer import load_analyzer
from worker.fetch import FetchedVideo
analyzer = load_analyzer(Settings())
video = FetchedVideo(Path(sys.argv[1]), 0, "0" * 64)
options = {"sampling": {"mode": "uniform", "clips": 64}}
report = analyzer.analyze(video, "styleflow@default", options, report_progress=lambda _: None, checkpoint=lambda: None)
print(report.outcome, report.reason, report.coverage.clips_analysed, report.coverage.frames_decoded)
"""


def resident(pid: int) -> int:
    """Bytes of resident memory; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def children(pid: int) -> list[int]:
    """Direct children that run a program of their own: between fork and exec a child is its parent's copy."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return [child for child in found if b"sandbox_child" in command(child)]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def peaks(process: subprocess.Popen[bytes]) -> tuple[int, int, int]:
    """Highest resident bytes of worker, decoder, and both together, until the process ends."""
    worker = decoder = together = 0
    while process.poll() is None:
        own = resident(process.pid)
        child = sum(resident(pid) for pid in children(process.pid))
        worker, decoder, together = max(worker, own), max(decoder, child), max(together, own + child)
        time.sleep(0.02)
    return worker, decoder, together


def measure(video: Path, packs: Path) -> tuple[tuple[int, int, int], float, str]:
    environment = os.environ | {"STYLEFLOW_PACKS_DIRECTORY": str(packs), "OMP_WAIT_POLICY": "PASSIVE"}
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, video], env=environment, stdout=subprocess.PIPE)
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(process.stdout.read() if process.stdout else b""))
    reader.start()
    found = peaks(process)
    reader.join()
    return found, time.monotonic() - started, said[0].decode().strip()


def main() -> None:
    minutes = [float(argument) for argument in sys.argv[1:]] or [1.0, 10.0]
    table = Table(
        "minutes", "worker MB", "decoder MB", "together MB", "seconds", "report", title="peak resident memory"
    )
    totals: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        packs = Path(folder) / "packs"
        packs.mkdir()
        write_random_pack(packs, COMPACT, seed=0, default=True)
        for length in minutes:
            video = media.long_face_clip(Path(folder) / "video.mp4", minutes=length)
            found, seconds, said = measure(video, packs)
            totals.append(found[2])
            table.add_row(f"{length:g}", *(f"{value / 1e6:.0f}" for value in found), f"{seconds:.0f}", said)
    console = Console(width=120)
    console.print(table)
    console.print(f"together, last to first: {totals[-1] / totals[0]:.3f}")


if __name__ == "__main__":
    main()
