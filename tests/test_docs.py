"""What the documents list is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from styleflow.settings import Settings

CHECKOUT = Path(__file__).parent.parent
OPERATIONS = (CHECKOUT / "docs" / "operations.md").read_text()
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("samples/*.md")])


def documented(prefix: str) -> set[str]:
    """Names in the first column of the tables of docs/operations.md."""
    return {
        name for name in re.findall(r"^\| `([A-Za-z0-9_]+)[`{]", OPERATIONS, re.MULTILINE) if name.startswith(prefix)
    }


def test_every_setting_has_its_line_and_every_line_its_setting() -> None:
    settings = {f"STYLEFLOW_{name.upper()}" for name in Settings.model_fields}

    assert documented("STYLEFLOW_") == settings


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []
