"""The preview of the Deepfake Detection Challenge, DFDCP (Dolhansky et al., 2019).

<root>/dataset.json     {"method_A/1/1_C/2_1_C_001.mp4":
                            {"label": "fake", "set": "train", "target_id": 1, "swapped_id": 2}}
<root>/original_videos/1/1_C_001.mp4
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from styleflow.datasets.dfdc import is_fake, objects, split_named
from styleflow.datasets.layout import ScanWish
from styleflow.datasets.manifest import ManifestEntry


def promised(root: Path, wish: ScanWish) -> Iterator[ManifestEntry]:  # noqa: ARG001 (the shape of every layout)
    """A person is `target_id`, a generator the folder of its method. Raises DatasetError without the list, and for a
    label or split that it does not know."""
    file = root / "dataset.json"
    for name, facts in objects(file):
        path = PurePosixPath(name)
        fake = is_fake(facts.get("label"), name, file)
        target = str(facts.get("target_id") or path.stem)
        yield ManifestEntry(
            path=path,
            label="fake" if fake else "real",
            generator=path.parts[0] if fake else None,
            identity=target,
            pair=f"original_videos/{target}/{path.name.partition('_')[2]}" if fake else None,
            split=split_named(facts.get("set"), file),
            dataset="DFDCP",
        )
