"""What a weights pack is, and which packs are served. No tensors here: this is read by the API as well.

    <packs>/<name>-<version>/card.json            what it is: sizes, preprocessing, calibration, provenance
    <packs>/<name>-<version>/model.safetensors    the parameters, bound to the card by their SHA-256
    <packs>/<name>-<version>/model-card.md        for people, where there is one

`models/weights.py` turns a pack into a network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from styleflow.components import COMPONENTS as COMPONENTS
from styleflow.components import CONTENT_ONLY as CONTENT_ONLY
from styleflow.components import Component as Component
from styleflow.errors import PackError, UnknownModel
from styleflow.report import Thresholds

CARD_FILE = "card.json"
MODEL_CARD = "model-card.md"
"""Beside the card where there is one: for people to read."""
DEFAULT_MODEL = "styleflow@default"
SCORING_FIELDS = ("size", "sizes", "components", "preprocessing", "calibration")
"""What in a card decides a score, besides the parameters."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Triple = tuple[float, float, float]
StyleFraming = Literal["ffhq", "ftcn256", "ffhq_per_frame"]


class _CardPart(BaseModel):
    """Frozen, and strict about names: a misspelt key in a card is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WeightsFile(_CardPart):
    """The one file of parameters, beside the card."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$")] = "model.safetensors"
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0)]


class Preprocessing(_CardPart):
    """How pixels become the network's two inputs. Sizes are pixels; mean and std are of RGB scaled to 0..1."""

    clip_frames: int = 32
    content_size: int
    content_mean: Triple = (0.485, 0.456, 0.406)
    content_std: Triple = (0.229, 0.224, 0.225)
    style_size: int
    style_mean: Triple = (0.5, 0.5, 0.5)
    style_std: Triple = (0.5, 0.5, 0.5)
    style_framing: StyleFraming = "ffhq"
    """`ffhq`: FFHQ framing by one transform per clip; `ftcn256`: the content crop itself; `ffhq_per_frame`: each
    frame framed by its own points, as FFHQ was, so that the jitter of the points enters the style flow."""


class Calibration(_CardPart):
    """From raw logit to probability: sigmoid(slope * logit + intercept); temperature scaling has intercept 0."""

    method: Literal["platt", "temperature"]
    slope: Annotated[float, Field(gt=0)]
    intercept: float = 0.0
    thresholds: Thresholds
    abstain: tuple[float, float] | None = None
    """Probabilities from the first to below the second say nothing: such a video is inconclusive. Ends at `weak` at
    the latest, so that every word that accuses is outside."""
    measured_on: str
    """The set and the figures that it was fitted on."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        steps = self.thresholds
        if not 0 <= steps.weak <= steps.suspicious <= steps.strong <= 1:
            raise ValueError("thresholds must rise from weak over suspicious to strong, within 0..1")
        if self.abstain is not None and not 0 <= self.abstain[0] < self.abstain[1] <= steps.weak:
            raise ValueError("the band of abstention must rise, begin at 0 or above and end at weak at the latest")
        if self.method == "temperature" and self.intercept != 0:
            raise ValueError("temperature scaling has no intercept")
        return self


class Source(_CardPart):
    """A file that the parameters came from."""

    name: str
    sha256: Sha256 | None = None
    url: str | None = None
    components: tuple[Component, ...] = ()
    """Those that were taken from it."""


class GoldenClip(_CardPart):
    """What the network said about one drawn clip when the pack was made: see models/verification.py."""

    rule: Literal["drifting-blocks-1"]
    """How the clip is drawn."""
    logit: float
    """In float32 on the CPU that made the pack."""


class Training(_CardPart):
    """`trained` False means that no data was ever seen: such a pack can never be calibrated."""

    trained: bool
    statement: str
    seed: int | None = None


class PackCard(_CardPart):
    """Everything that is known about one set of parameters. Stored as `card.json`."""

    card_version: Literal["1"] = "1"
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    version: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    default: bool = False
    """Served as `styleflow@default`."""
    size: Literal["compact", "small", "paper", "custom"]
    sizes: Mapping[str, Any]
    """The fields of `models.detector.DetectorSizes`, as JSON."""
    components: Annotated[tuple[Component, ...], Field(min_length=1)]
    weights: WeightsFile
    preprocessing: Preprocessing
    calibration: Calibration | None
    training: Training
    domain: str | None = None
    """What it was measured on and where it knows nothing, in a sentence. Every report made with it says so."""
    sources: tuple[Source, ...] = ()
    licences: tuple[str, ...] = ()
    tolerance: Mapping[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How far the golden clip's logit may be off, per precision, in units of max(1, |logit|). A precision without
    an entry is not served."""
    golden: GoldenClip | None = None
    created: AwareDatetime

    @model_validator(mode="after")
    def _only_trained_weights_are_calibrated(self) -> Self:
        if self.calibration is not None and not self.training.trained:
            raise ValueError("weights that were not trained cannot be calibrated")
        return self

    @model_validator(mode="after")
    def _components_make_a_network(self) -> Self:
        held = set(self.components)
        if len(held) != len(self.components):
            raise ValueError("a component is named twice")
        if held not in (set(COMPONENTS), set(CONTENT_ONLY)):
            lacking = ", ".join(component for component in COMPONENTS if component not in held)
            raise ValueError(f"a network is whole, or content and temporal_transformer alone: it lacks {lacking}")
        return self

    @property
    def content_only(self) -> bool:
        """Whether the style branch is absent."""
        return "style_attention" not in self.components

    @property
    def model(self) -> str:
        """As a job names it: `name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def scoring_sha256(self) -> str:
        """Of `SCORING_FIELDS`, defaults written out, as JSON with sorted keys and without spaces. The parameters' own
        SHA-256 does not change when one of these is altered in the card."""
        fields = self.model_dump(mode="json", include=set(SCORING_FIELDS))
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Pack:
    """A card and the folder that it was read from."""

    card: PackCard
    directory: Path

    @property
    def weights_path(self) -> Path:
        return self.directory / self.card.weights.file


def read_pack(directory: Path) -> Pack:
    """Reads the card only; the parameters are checked by `verify_pack`.

    Raises PackError when there is no card, or it does not hold together; names the field, not the path.
    """
    try:
        text = (directory / CARD_FILE).read_bytes()
    except OSError as error:
        raise PackError(f"The pack {directory.name} has no readable {CARD_FILE}.") from error
    try:
        card = PackCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the card"
        raise PackError(f"The card of the pack {directory.name} is wrong at {where}: {first['msg']}.") from error
    return Pack(card, directory)


def write_card(card: PackCard, directory: Path) -> None:
    """Writes `card.json` into an existing folder."""
    text = card.model_dump_json(indent=2) + "\n"
    (directory / CARD_FILE).write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Of a file's bytes, as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_pack(pack: Pack) -> None:
    """Reads all bytes of the weights file. Raises PackError unless they are those that the card names."""
    weights = pack.card.weights
    try:
        size, found = pack.weights_path.stat().st_size, sha256_of(pack.weights_path)
    except OSError as error:
        raise PackError(f"The pack {pack.card.folder} has no readable {weights.file}.") from error
    if size != weights.size_bytes:
        raise PackError(
            f"The pack {pack.card.folder} was altered: {weights.file} has {size} bytes, its card says "
            f"{weights.size_bytes}.",
            pack=pack.card.model,
        )
    if found != weights.sha256:
        raise PackError(
            f"The pack {pack.card.folder} was altered: the SHA-256 of {weights.file} is {found}, "
            f"its card says {weights.sha256}.",
            pack=pack.card.model,
            expected=weights.sha256,
            found=found,
        )


@dataclass(frozen=True)
class Catalog:
    """The packs in a folder, as they were when it was opened, ordered by `name@version`.

    Raises PackError when a card cannot be read, two packs share a name and version, or two claim to be the
    default. A folder without a card, and one whose name begins with a dot, is no pack.
    """

    directory: Path
    tolerant: bool = False
    """Instead of raising, hold the packs that can be read, and in `problems` why nothing is served from the folder."""
    packs: tuple[Pack, ...] = field(init=False)
    problems: tuple[PackError, ...] = field(init=False)

    def __post_init__(self) -> None:
        packs, problems = _readable(self.directory)
        problems += _clashes(packs)
        if problems and not self.tolerant:
            raise problems[0]
        object.__setattr__(self, "packs", packs)
        object.__setattr__(self, "problems", problems)

    @property
    def cards(self) -> tuple[PackCard, ...]:
        return tuple(pack.card for pack in self.packs)

    @property
    def default(self) -> Pack | None:
        """The pack whose card says `default`, or the only one."""
        marked = [pack for pack in self.packs if pack.card.default]
        if marked:
            return marked[0]
        return self.packs[0] if len(self.packs) == 1 and not self.problems else None

    def resolve(self, model: str) -> Pack:
        """`styleflow@default` or `name@version` to its pack. Raises UnknownModel, which lists what is served."""
        if model == DEFAULT_MODEL:
            chosen = self.default
        else:
            chosen = next((pack for pack in self.packs if pack.card.model == model), None)
        if chosen is None:
            served = self.served
            listing = ", ".join(served) if served else "none"
            raise UnknownModel(f"There is no model {model!r:.100}. Served: {listing}.", served=served)
        return chosen

    @property
    def served(self) -> list[str]:
        """Every name that `resolve` takes."""
        names = [card.model for card in self.cards]
        return [DEFAULT_MODEL, *names] if self.default else names


def refuse_second_default(directory: Path, card: PackCard) -> None:
    """Raises PackError for a card that claims to be the default of a folder which has another: nothing could then be
    served from it."""
    held = next((other for other in Catalog(directory).cards if other.default), None) if directory.is_dir() else None
    if card.default and held is not None and held.folder != card.folder:
        raise PackError(f"{held.model} is the default already; make {card.model} without --default.")


def _readable(directory: Path) -> tuple[tuple[Pack, ...], tuple[PackError, ...]]:
    """The packs of a folder, by `name@version`, and what is wrong with those that cannot be read, by folder."""
    packs, problems = [], []
    for path in sorted(directory.glob(f"*/{CARD_FILE}")):
        if path.parent.name.startswith("."):
            continue
        try:
            packs.append(read_pack(path.parent))
        except PackError as error:
            problems.append(error)
    return tuple(sorted(packs, key=lambda pack: pack.card.model)), tuple(problems)


def _clashes(packs: tuple[Pack, ...]) -> tuple[PackError, ...]:
    names = [pack.card.model for pack in packs]
    doubles = sorted({name for name in names if names.count(name) > 1})
    defaults = [pack.card.model for pack in packs if pack.card.default]
    clashes = [PackError(f"Two packs are called {name}.") for name in doubles]
    if len(defaults) > 1:
        clashes.append(PackError(f"Several packs claim to be the default: {', '.join(defaults)}."))
    return tuple(clashes)
