"""Published checkpoints become a pack: read without executing, checked name by name, written once.

Nothing is guessed: a name that is missing, left over or of another shape refuses the whole import, with the list.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from styleflow.errors import PackError
from styleflow.models import published
from styleflow.models.checkpoint_file import Checkpoint, read_checkpoint
from styleflow.models.layout import Layout, entries, listing
from styleflow.models.published import STAGE_TWO, STYLE_ENCODER, STYLE_GRU, Match, PublishedPart
from styleflow.models.sizes import SIZES, ContentSizes, DetectorSizes, FlowLevel, size_name
from styleflow.models.weights import preprocessing_of, write_pack
from styleflow.packs import (
    COMPONENTS,
    CONTENT_ONLY,
    Component,
    Pack,
    PackCard,
    Source,
    Training,
    WeightsFile,
    read_pack,
    refuse_second_default,
)

Framing = Literal["ffhq", "ftcn256", "ffhq_per_frame"]

LICENCES = {
    STYLE_ENCODER.title: "pSp encoder: MIT code; weights from FFHQ and IR-SE50, non-commercial research",
    STYLE_GRU.title: "StyleGRU: MIT code; weights as their owner says",
    STAGE_TWO.title: "stage 2 (FTCN layout): no licence published with the weights",
}
IMPORTED = "imported: trained elsewhere, on data that this card does not know"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files. Without the two of the style branch the pack holds the content branch only."""

    stage_two: Path
    style_encoder: Path | None = None
    style_gru: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the importer says about the pack."""

    name: str | None = None
    """None: `styleflow-<size>`, or `content-<size>` without a style branch."""
    version: str | None = None
    """None: drawn from the sources' SHA-256."""
    level: FlowLevel | None = None
    """None: inferred from the width of the StyleGRU's input."""
    style_framing: Framing = "ffhq"
    default: bool = False
    statement: str = IMPORTED
    licences: tuple[str, ...] = ()
    """Empty: what is known about the published files."""


@dataclass(frozen=True, kw_only=True)
class PartTaken:
    """What became of one file's entries: the row of the import's table."""

    part: str
    file: str
    sha256: str
    taken: int
    parameters: int
    ignored: Mapping[str, int]
    """Why → how many entries."""
    beside: tuple[str, ...]
    """What lay beside the state dict, and was not looked at."""
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    unlike: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A pack that was made, and what it was made of."""

    pack: Pack
    parts: tuple[PartTaken, ...]
    level: FlowLevel | None


def import_checkpoints(
    directory: Path, sources: Sources, sizes: DetectorSizes, wishes: Wishes | None = None
) -> Imported:
    """Write a pack of published checkpoints into `directory`, the folder of all packs.

    Raises PackError for sizes that have no published layout, a file that must not be read, entries that do not fit
    (with `parts`, the rows, in its details), a branch of which a file is lacking, or a pack of that name that is there
    already.
    """
    wishes = wishes or Wishes()
    _refuse_unpublished(sizes)
    _refuse_no_folder(directory)
    files = _opened(sources)
    components = _components_of(files)
    sizes, level = _with_level(sizes, files, wishes.level)
    expected = published.expected_layout(sizes, components)
    matches = {part.title: _matched(part, file, expected) for part, file in files.values()}
    parts = tuple(_row(part, file, matches[part.title]) for part, file in files.values())
    _refuse_misfits(parts, matches.values())
    try:
        card = _card(sizes, components, files, wishes)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise PackError(f"The pack's {'.'.join(map(str, first['loc']))} will not do: {first['msg']}.") from error
    if (directory / card.folder).exists():
        raise PackError(f"The pack {card.folder} exists already; choose another version.", pack=card.model)
    refuse_second_default(directory, card)
    state = _state(files, matches, expected)
    files.clear()  # gigabytes, of which the pack needs what is in `state`
    folder = write_pack(directory, state, lambda weights: card.model_copy(update={"weights": weights}))
    return Imported(pack=read_pack(folder), parts=parts, level=level)


def _refuse_no_folder(directory: Path) -> None:
    """Before gigabytes are read. A folder that is not there yet will be made."""
    if directory.exists() and not directory.is_dir():
        raise PackError(f"No pack can be made in {directory.name}: it is no folder.")


def _refuse_unpublished(sizes: DetectorSizes) -> None:
    if not isinstance(sizes.content, ContentSizes):
        known = " and ".join(name for name, sizes in SIZES.items() if isinstance(sizes.content, ContentSizes))
        raise PackError(
            f"No checkpoints are published for the size {size_name(sizes)}: its content branch is "
            f"{sizes.content.backbone}. The sizes with a published layout are {known}."
        )


ENCODER_TYPE = "GradualStyleEncoder"
"""What pSp's trainer calls its encoder in a checkpoint's `opts`."""
Files = dict[str, tuple[PublishedPart, Checkpoint]]


def _opened(sources: Sources) -> Files:
    if (sources.style_encoder is None) != (sources.style_gru is None):
        lacking = STYLE_ENCODER.title if sources.style_encoder is None else STYLE_GRU.title
        raise PackError(f"The style branch needs the {lacking} too; without either the pack is content-only.")
    paths = ((STYLE_ENCODER, sources.style_encoder), (STYLE_GRU, sources.style_gru), (STAGE_TWO, sources.stage_two))
    files = {part.title: (part, read_checkpoint(path)) for part, path in paths if path is not None}
    if STYLE_ENCODER.title in files:
        _refuse_other_encoder(files[STYLE_ENCODER.title][1])
    return files


def _refuse_other_encoder(file: Checkpoint) -> None:
    """Encoder4Editing has pSp's names and shapes, and its styles after the first are differences from that one."""
    named = file.options.get("encoder_type", ENCODER_TYPE)
    if named != ENCODER_TYPE:
        raise PackError(f"{file.name} holds a {named!s:.60}, which is another function than pSp's {ENCODER_TYPE}.")


def _components_of(files: Files) -> tuple[Component, ...]:
    _, stage_two = files[STAGE_TWO.title]
    attends = any(STAGE_TWO.official(key).startswith("resnet.head.STA.") for key in stage_two.state)
    if attends and STYLE_GRU.title not in files:
        raise PackError(
            f"{stage_two.name} has style attention, so the pack needs a {STYLE_ENCODER.title} and a {STYLE_GRU.title}."
        )
    return COMPONENTS if STYLE_GRU.title in files else CONTENT_ONLY


def _with_level(sizes: DetectorSizes, files: Files, wish: FlowLevel | None) -> tuple[DetectorSizes, FlowLevel | None]:
    """The sizes with the level that the StyleGRU reads. None without a StyleGRU: there is no level then."""
    if STYLE_GRU.title not in files:
        if wish is not None:
            raise PackError("A level needs a StyleGRU; this pack would have no style branch.")
        return sizes, None
    _, gru = files[STYLE_GRU.title]
    width = published.gru_width(entries(gru.state))
    # a file without the input's matrix is no StyleGRU: with any level the comparison lists what is missing in it
    level = wish or (inferred_level(sizes, width, gru.name) if width is not None else sizes.style_gru.level)
    return replace(sizes, style_gru=replace(sizes.style_gru, level=level)), level


def inferred_level(sizes: DetectorSizes, width: int, name: str) -> FlowLevel:
    """The one level whose styles are as wide as the StyleGRU's input. Raises PackError for none and for several."""
    encoder = sizes.style_encoder
    widths: dict[FlowLevel, int] = {
        level: (encoder.read_by(level).stop - encoder.read_by(level).start) * encoder.style_width
        for level in get_args(FlowLevel)
    }
    fitting = [level for level, wide in widths.items() if wide == width]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise PackError(f"{name} reads {width} values a step, which fits {' and '.join(fitting)}: say which level.")
    known = ", ".join(f"{level} {wide}" for level, wide in widths.items())
    raise PackError(f"{name} reads {width} values a step, which is the width of no level ({known}).")


def _matched(part: PublishedPart, file: Checkpoint, expected: Layout) -> Match:
    of_part = {name: entry for name, entry in expected.items() if name.split(".")[0] in part.components}
    return published.match(part, entries(file.state), of_part)


def _row(part: PublishedPart, file: Checkpoint, found: Match) -> PartTaken:
    ignored = {reason: len(keys) for reason, keys in found.ignored.items()}
    return PartTaken(
        part=part.title,
        file=file.name,
        sha256=file.sha256,
        taken=len(found.taken),
        parameters=sum(file.state[key].numel() for key in found.taken.values()),
        ignored=ignored,
        beside=file.beside,
        missing=found.missing,
        left_over=found.left_over,
        unlike=found.unlike,
    )


def _refuse_misfits(parts: Iterable[PartTaken], matches: Iterable[Match]) -> None:
    rows = tuple(parts)
    problems = [
        f"{row.file}: {problem}" for row, found in zip(rows, matches, strict=True) for problem in found.problems
    ]
    if problems:
        raise PackError(
            f"The checkpoints do not fit the network: {listing(problems)}.",
            differences=problems,
            parts=rows,
        )


def _state(files: Files, matches: Mapping[str, Match], expected: Layout) -> dict[str, Tensor]:
    """Float32 and contiguous, as a pack holds it, and no two sharing memory, which safetensors refuses.

    A GRU that was trained on an accelerator has all its parameters side by side in one block of memory.
    """
    state = published.counters(expected)
    for title, (_, file) in files.items():
        blocks = Counter(tensor.untyped_storage().data_ptr() for tensor in file.state.values())
        for name, key in matches[title].taken.items():
            value = file.state[key].detach().to(torch.float32).contiguous()
            if not bool(value.isfinite().all()):
                raise PackError(f"{file.name}: {key} holds values that are not finite in float32.")
            place = value.untyped_storage()
            shared = blocks[place.data_ptr()] > 1 or place.nbytes() != value.nbytes
            state[name] = value.clone() if shared else value
    return state


def _card(sizes: DetectorSizes, components: tuple[Component, ...], files: Files, wishes: Wishes) -> PackCard:
    size = size_name(sizes)
    digests = "".join(file.sha256 for _, file in files.values()).encode()
    branch = "styleflow" if components == COMPONENTS else "content"
    return PackCard(
        name=wishes.name or f"{branch}-{size}",
        version=wishes.version or f"imported-{hashlib.sha256(digests).hexdigest()[:8]}",
        default=wishes.default,
        size=size,
        sizes=sizes.to_json(),
        components=components,
        weights=WeightsFile(sha256="0" * 64, size_bytes=1),  # replaced as soon as the file is written
        preprocessing=preprocessing_of(sizes, wishes.style_framing),
        calibration=None,
        training=Training(trained=True, statement=wishes.statement),
        sources=tuple(
            Source(name=file.name, sha256=file.sha256, components=tuple(c for c in part.components if c in components))
            for part, file in files.values()
        ),
        licences=wishes.licences or tuple(LICENCES[title] for title in files),
        created=datetime.now(UTC).replace(microsecond=0),
    )
