"""Packs copied from folder to folder: the pack that comes with StyleFlow, and a pack with another card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from styleflow.errors import PackError
from styleflow.packs import (
    MODEL_CARD,
    Catalog,
    Pack,
    PackCard,
    read_pack,
    refuse_second_default,
    verify_pack,
    write_card,
)

SHIPPED = Path(__file__).parent / "shipped_packs"
"""The folder of the packs that come with StyleFlow."""


def copy_pack(pack: Pack, card: PackCard, directory: Path) -> Pack:
    """The pack's parameters and model card under `card` in `directory`, the folder of all packs.

    It appears whole or not at all. Raises PackError where a pack of that name and version is there, where the folder
    has another default, and for a `directory` in which no folder can be made.
    """
    if (directory / card.folder).exists():
        raise PackError(f"There is a pack {card.folder} already.")
    refuse_second_default(directory, card)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=directory) as scratch:
            made = Path(scratch) / card.folder
            made.mkdir()
            shutil.copyfile(pack.weights_path, made / card.weights.file)
            _copy_model_card(pack, made)
            write_card(card, made)
            made.rename(directory / card.folder)
    except OSError as error:
        raise PackError(f"No pack can be made in {directory.name}: {error.strerror}.") from error
    return read_pack(directory / card.folder)


def install_shipped(directory: Path) -> tuple[Pack, ...]:
    """The packs that come with StyleFlow, copied into `directory`; those that are there are verified and kept.

    Raises PackError as `copy_pack` does, and for one that is there and was altered.
    """
    return tuple(_installed(pack, directory) for pack in Catalog(SHIPPED).packs)


def _installed(pack: Pack, directory: Path) -> Pack:
    if not (directory / pack.card.folder).exists():
        return copy_pack(pack, pack.card, directory)
    held = read_pack(directory / pack.card.folder)
    if held.card != pack.card:
        raise PackError(f"The pack {held.card.folder} is another one than comes with StyleFlow.")
    verify_pack(held)
    _copy_model_card(pack, held.directory)  # it may have been corrected since
    return held


def _copy_model_card(pack: Pack, folder: Path) -> None:
    if (pack.directory / MODEL_CARD).is_file():
        shutil.copyfile(pack.directory / MODEL_CARD, folder / MODEL_CARD)
