from __future__ import annotations

from pathlib import Path

import pytest

from tests import media


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of numbered pictures, five times as many bytes of pixels as the pipe holds."""
    return media.plain_clip(tmp_path_factory.mktemp("clip") / "a.mp4", seconds=3, movflags="faststart")
