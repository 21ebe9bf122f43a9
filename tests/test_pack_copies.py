from __future__ import annotations

from pathlib import Path

import pytest

from styleflow import pack_copies
from styleflow.errors import PackError
from styleflow.models.sizes import SMALL
from styleflow.models.weights import write_random_pack
from styleflow.pack_copies import copy_pack, install_shipped
from styleflow.packs import DEFAULT_MODEL, MODEL_CARD, Catalog, Pack, verify_pack


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    monkeypatch.setattr(pack_copies, "SHIPPED", tmp_path / "shipped")
    return write_random_pack(tmp_path / "shipped", SMALL, seed=1, default=True)


def test_what_is_shipped_is_installed_once_and_then_kept(shipped: Pack, tmp_path: Path) -> None:
    for _ in range(2):
        (installed,) = install_shipped(tmp_path / "packs")
        assert installed.card == shipped.card
        verify_pack(installed)


def test_the_model_card_goes_along(shipped: Pack, tmp_path: Path) -> None:
    (shipped.directory / MODEL_CARD).write_text("measured")

    (installed,) = install_shipped(tmp_path / "packs")

    assert (installed.directory / MODEL_CARD).read_text() == "measured"
    (shipped.directory / MODEL_CARD).write_text("corrected")
    install_shipped(tmp_path / "packs")
    assert (installed.directory / MODEL_CARD).read_text() == "corrected"


def test_the_pack_in_the_repository_is_trained_calibrated_served_by_default_and_small() -> None:
    pack = Catalog(pack_copies.SHIPPED).resolve(DEFAULT_MODEL)

    verify_pack(pack)
    assert pack.card.training.trained
    assert pack.card.calibration is not None
    assert pack.card.domain
    assert pack.card.licences
    assert sum(path.stat().st_size for path in pack_copies.SHIPPED.rglob("*")) <= 25e6


def test_the_model_card_in_the_pack_is_that_of_the_documents() -> None:
    pack = Catalog(pack_copies.SHIPPED).resolve(DEFAULT_MODEL)
    documents = Path(__file__).parents[1] / "docs"

    assert (pack.directory / MODEL_CARD).read_text() == (documents / "model-card.md").read_text()
    assert pack.card.weights.sha256 in (documents / "model-card.md").read_text()


def test_an_installed_pack_that_was_altered_is_refused(shipped: Pack, tmp_path: Path) -> None:
    (installed,) = install_shipped(tmp_path / "packs")
    installed.weights_path.write_bytes(b"\0" * installed.weights_path.stat().st_size)

    with pytest.raises(PackError, match="altered"):
        install_shipped(tmp_path / "packs")


def test_another_pack_under_the_shipped_name_is_refused(shipped: Pack, tmp_path: Path) -> None:
    copy_pack(shipped, shipped.card.model_copy(update={"licences": ("other",)}), tmp_path / "packs")

    with pytest.raises(PackError, match="another one than comes with StyleFlow"):
        install_shipped(tmp_path / "packs")


def test_a_second_default_is_not_installed(shipped: Pack, tmp_path: Path) -> None:
    write_random_pack(tmp_path / "packs", SMALL, seed=2, default=True)

    with pytest.raises(PackError, match="default"):
        install_shipped(tmp_path / "packs")


def test_a_folder_that_is_a_file_is_refused(shipped: Pack, tmp_path: Path) -> None:
    (tmp_path / "packs").write_text("no folder")

    with pytest.raises(PackError, match="No pack can be made in packs"):
        install_shipped(tmp_path / "packs")
