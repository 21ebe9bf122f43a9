"""Every layout by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from styleflow.datasets import celeb_df, deeper_forensics, dfdc, faceforensics, ffiw, folder
from styleflow.datasets.layout import ScanWish
from styleflow.datasets.manifest import DatasetError, Manifest

Scan = Callable[[Path, ScanWish], Manifest]

LAYOUTS: Mapping[str, Scan] = {
    "faceforensics": faceforensics.scan,
    "deepfakedetection": faceforensics.scan_deepfake_detection,
    "celeb-df-v2": celeb_df.scan,
    "dfdc": dfdc.scan,
    "dfdcp": dfdc.scan_preview,
    "deeperforensics": deeper_forensics.scan,
    "ffiw": ffiw.scan,
    "folder": folder.scan,
    "csv": lambda root, _: Manifest.from_csv(root),
}


def scan(name: str, root: Path, wish: ScanWish) -> Manifest:
    """Raises DatasetError for an unknown name, a root that is not there, and what the layout refuses."""
    if name not in LAYOUTS:
        raise DatasetError(f"there is no layout {name!r}; known are {', '.join(LAYOUTS)}")
    if not root.exists():
        raise DatasetError(f"{root.name} is not there")
    return LAYOUTS[name](root, wish)
