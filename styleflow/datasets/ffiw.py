"""FFIW-10K (Zhou et al., CVPR 2021): several faces in each video, some of them swapped.

<root>/source/<train|val|test>/*.mp4    real
<root>/target/<train|val|test>/*.mp4    fake, under the name of its real video
"""

from __future__ import annotations

from pathlib import Path

from styleflow.datasets.layout import ScanWish, files_below, relative
from styleflow.datasets.manifest import DatasetError, Manifest, ManifestEntry, Split

SPLITS: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "validation"), ("test", "test"))


def scan(root: Path, wish: ScanWish) -> Manifest:
    """A person is the real video. A real video without its fake, or the other way round, is named as missing."""
    entries, missing = [], []
    for name, split in SPLITS:
        real = {path.stem: relative(path, root) for path in files_below(root / "source" / name)}
        fake = {path.stem: relative(path, root) for path in files_below(root / "target" / name)}
        for stem in sorted(real.keys() | fake.keys()):
            for found, label, generator in ((real, "real", None), (fake, "fake", "FFIW")):
                if stem in found:
                    entries.append(
                        ManifestEntry(
                            path=found[stem],
                            label="fake" if label == "fake" else "real",
                            generator=generator,
                            identity=f"{name}-{stem}",
                            pair=real[stem].as_posix() if label == "fake" and stem in real else None,
                            split=split,
                            licence=wish.licence,
                            dataset="FFIW-10K",
                        )
                    )
                else:
                    folder = "source" if label == "real" else "target"
                    missing.append(relative(root / folder / name / f"{stem}.mp4", root))
    if not entries:
        raise DatasetError(f"{root.name} has no videos in source/ and target/")
    return Manifest(root, tuple(entries), tuple(missing))
