"""DF40 (Yan et al., NeurIPS 2024): forty generators over the real videos of FaceForensics++ and Celeb-DF.

    <root>/<method>/<ff|cdf>/**/000_003.mp4, id0_id1_0000.mp4     fakes, named as in the two sets
    <root>/<method>/**/<fake|real>/**/*.mp4                       methods with real videos of their own

The videos of the face-swapping and reenactment methods are meant, which are handed out beside the cropped pictures that
most people use. The pictures, and the methods that make pictures only, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from styleflow.datasets.layout import ScanWish, files_below, relative
from styleflow.datasets.manifest import ManifestEntry

DOMAINS = ("ff", "cdf")


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:  # noqa: ARG001 (the shape of every layout)
    """Every video, all for testing. An identity is the name's first part: the target's video or person."""
    for file in files_below(root):
        path = relative(file, root)
        method, *folders = path.parts[:-1] or ("",)
        if method:
            real = "real" in folders
            domain = folders[0] if folders and folders[0] in DOMAINS else method
            yield ManifestEntry(
                path=path,
                label="real" if real else "fake",
                generator=None if real else method,
                identity=f"{domain}-{path.stem.split('_')[0]}",
                split="test",
                dataset="DF40",
            )
