"""Every layout by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from styleflow.datasets import (
    celeb_df,
    deeper_forensics,
    deepfake_detection,
    df40,
    dfdc,
    dfdc_preview,
    faceforensics,
    ffiw,
    folder,
)
from styleflow.datasets.layout import ScanWish, present
from styleflow.datasets.manifest import DatasetError, Manifest, ManifestEntry

Promise = Callable[[Path, ScanWish], Iterable[ManifestEntry]]
"""The videos that a layout promises below a root, whether they are there or not."""

LAYOUTS: Mapping[str, Promise] = {
    "faceforensics": faceforensics.promised,
    "deepfakedetection": deepfake_detection.promised,
    "celeb-df-v2": celeb_df.promised,
    "dfdc": dfdc.promised,
    "dfdcp": dfdc_preview.promised,
    "deeperforensics": deeper_forensics.promised,
    "df40": df40.promised,
    "ffiw": ffiw.promised,
    "folder": folder.promised,
    "csv": lambda file, _: Manifest.from_csv(file).entries,
}


def scan(name: str, root: Path, wish: ScanWish) -> Manifest:
    """What is there of a data set, and what is missing. `root` is its folder, or the file of a CSV.

    Raises DatasetError for an unknown name, a root that is not there, and what the layout refuses.
    """
    if name not in LAYOUTS:
        raise DatasetError(f"there is no layout {name!r}; known are {', '.join(LAYOUTS)}")
    if not root.exists():
        raise DatasetError(f"{root.name} is not there")
    return present(root.parent if root.is_file() else root, LAYOUTS[name](root, wish), wish)
