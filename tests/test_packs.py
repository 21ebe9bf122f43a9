from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from styleflow.errors import PackError, UnknownModel
from styleflow.packs import (
    COMPONENTS,
    CONTENT_ONLY,
    Calibration,
    Catalog,
    Pack,
    PackCard,
    Preprocessing,
    Training,
    WeightsFile,
    read_pack,
    sha256_of,
    verify_pack,
    write_card,
)
from styleflow.report import Thresholds

CALIBRATION = Calibration(
    method="platt",
    slope=1.5,
    intercept=-0.2,
    thresholds=Thresholds(policy="default", weak=0.3, suspicious=0.6, strong=0.9),
    measured_on="a drawn set",
)


def written_pack(packs: Path, *, name: str = "net", version: str = "1", **fields: Any) -> Pack:
    folder = packs / f"{name}-{version}"
    folder.mkdir(parents=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(b"parameters of " + name.encode())
    described: dict[str, Any] = {
        "name": name,
        "version": version,
        "size": "custom",
        "sizes": {},
        "components": COMPONENTS,
        "weights": WeightsFile(sha256=sha256_of(weights), size_bytes=weights.stat().st_size),
        "preprocessing": Preprocessing(content_size=112, style_size=64),
        "calibration": None,
        "training": Training(trained=True, statement="drawn"),
        "created": datetime(2026, 1, 1, tzinfo=UTC),
    }
    card = PackCard(**(described | fields))
    write_card(card, folder)
    return Pack(card, folder)


def test_a_card_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    pack = written_pack(tmp_path, calibration=CALIBRATION)

    assert read_pack(pack.directory) == pack


@pytest.mark.parametrize(
    "altered",
    [
        {"preprocessing": Preprocessing(content_size=112, style_size=64, style_framing="ffhq_per_frame")},
        {"preprocessing": Preprocessing(content_size=112, style_size=64, style_std=(0.5, 0.5, 0.25))},
        {"sizes": {"style_attention": "style_value"}},
        {"components": CONTENT_ONLY},
        {"calibration": CALIBRATION},
    ],
)
def test_what_a_card_decides_of_a_score_has_a_sha256_that_its_parameters_do_not_share(
    tmp_path: Path, altered: dict[str, Any]
) -> None:
    card, other = written_pack(tmp_path).card, written_pack(tmp_path / "altered", **altered).card

    assert other.weights == card.weights
    assert other.scoring_sha256 != card.scoring_sha256


def test_what_decides_no_score_leaves_that_sha256_as_it_is_and_so_does_the_order_of_a_card(tmp_path: Path) -> None:
    sizes = {"one": 1, "two": {"three": 3, "four": 4}}
    card = written_pack(tmp_path, sizes=sizes).card
    turned = {"two": {"four": 4, "three": 3}, "one": 1}

    other = written_pack(tmp_path / "other", version="2", default=True, licences=("MIT",), sizes=turned).card

    assert other.scoring_sha256 == card.scoring_sha256
    assert read_pack(tmp_path / "net-1").card.scoring_sha256 == card.scoring_sha256


def test_the_sha256_is_of_the_canonical_json_so_that_any_program_can_repeat_it(tmp_path: Path) -> None:
    card = json.loads((written_pack(tmp_path, calibration=CALIBRATION).directory / "card.json").read_text())
    fields = {name: card[name] for name in ("size", "sizes", "components", "preprocessing", "calibration")}

    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))

    assert read_pack(tmp_path / "net-1").card.scoring_sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_sound_pack_is_verified_and_one_changed_byte_is_found(tmp_path: Path) -> None:
    pack = written_pack(tmp_path)
    verify_pack(pack)
    pack.weights_path.write_bytes(pack.weights_path.read_bytes()[:-1] + b"!")

    with pytest.raises(PackError, match=r"net-1 was altered: the SHA-256 of model\.safetensors") as caught:
        verify_pack(pack)
    assert str(tmp_path) not in str(caught.value)


def test_missing_weights_are_named_without_a_path(tmp_path: Path) -> None:
    pack = written_pack(tmp_path)
    pack.weights_path.unlink()

    with pytest.raises(PackError, match=r"^The pack net-1 has no readable model\.safetensors\.$"):
        verify_pack(pack)


def test_a_folder_without_a_card_is_no_pack(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(PackError, match=r"^The pack empty has no readable card\.json\.$"):
        read_pack(tmp_path / "empty")
    assert Catalog(tmp_path).packs == ()


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ('"name": "net"', '"name": "../net"', "name"),
        ('"file": "model.safetensors"', '"file": "../model.safetensors"', r"weights\.file"),
        ('"file": "model.safetensors"', '"file": "model.pt"', r"weights\.file"),
        ('"default": false', '"defualt": true', "defualt"),
        ('"card_version": "1"', '"card_version": "2"', "card_version"),
        ('"style_size": 64', '"style_size": "wide"', r"preprocessing\.style_size"),
        ("{", "", "the card"),
    ],
)
def test_a_wrong_card_is_refused_and_the_field_named(tmp_path: Path, before: str, after: str, where: str) -> None:
    card = written_pack(tmp_path).directory / "card.json"
    text = card.read_text()
    assert before in text
    card.write_text(text.replace(before, after, 1))

    with pytest.raises(PackError, match=rf"^The card of the pack net-1 is wrong at {where}: "):
        Catalog(tmp_path)


def test_untrained_weights_cannot_be_calibrated(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not trained cannot be calibrated"):
        written_pack(tmp_path, calibration=CALIBRATION, training=Training(trained=False, statement="random"))


@given(steps=st.tuples(*[st.floats(0, 1)] * 3))
def test_thresholds_are_accepted_exactly_when_they_rise(steps: tuple[float, float, float]) -> None:
    weak, suspicious, strong = steps
    thresholds = Thresholds(policy="p", weak=weak, suspicious=suspicious, strong=strong)

    def calibrate() -> Calibration:
        return Calibration(method="platt", slope=1, thresholds=thresholds, measured_on="a drawn set")

    if weak <= suspicious <= strong:
        assert calibrate().thresholds == thresholds
    else:
        with pytest.raises(ValidationError, match="thresholds must rise"):
            calibrate()


@pytest.mark.parametrize("band", [(0.3, 0.3), (0.4, 0.2), (-0.1, 0.2), (0.1, 0.6)])
def test_a_band_of_abstention_rises_and_ends_at_weak(band: tuple[float, float]) -> None:
    thresholds = Thresholds(policy="p", weak=0.5, suspicious=0.6, strong=0.7)

    with pytest.raises(ValidationError, match="band of abstention"):
        Calibration(method="platt", slope=1, thresholds=thresholds, abstain=band, measured_on="a drawn set")


def test_an_only_pack_is_the_default(tmp_path: Path) -> None:
    pack = written_pack(tmp_path)

    assert Catalog(tmp_path).resolve("styleflow@default") == pack
    assert Catalog(tmp_path).resolve("net@1") == pack


def test_among_several_packs_the_marked_one_is_the_default(tmp_path: Path) -> None:
    written_pack(tmp_path, name="first")
    marked = written_pack(tmp_path, name="second", default=True)

    catalog = Catalog(tmp_path)

    assert catalog.default == marked
    assert catalog.served == ["styleflow@default", "first@1", "second@1"]


def test_without_a_mark_several_packs_have_no_default(tmp_path: Path) -> None:
    written_pack(tmp_path, name="first")
    written_pack(tmp_path, name="second")

    with pytest.raises(UnknownModel, match=r"Served: first@1, second@1\.$"):
        Catalog(tmp_path).resolve("styleflow@default")


def test_two_defaults_or_two_packs_of_one_name_are_refused(tmp_path: Path) -> None:
    written_pack(tmp_path / "a", name="first", default=True)
    written_pack(tmp_path / "a", name="second", default=True)
    double = written_pack(tmp_path / "b")
    double.directory.rename(tmp_path / "b" / "copy")
    written_pack(tmp_path / "b")

    with pytest.raises(PackError, match="Several packs claim to be the default: first@1, second@1"):
        Catalog(tmp_path / "a")
    with pytest.raises(PackError, match="Two packs are called net@1"):
        Catalog(tmp_path / "b")


def test_a_tolerant_catalog_holds_what_can_be_read_and_names_what_keeps_it_from_being_served(tmp_path: Path) -> None:
    good = written_pack(tmp_path, version="2")
    bad = written_pack(tmp_path, version="1")
    (bad.directory / "card.json").write_text("{")

    catalog = Catalog(tmp_path, tolerant=True)

    assert catalog.packs == (good,)
    assert catalog.default is None, "an only pack is the default of a folder that is served"
    (problem,) = catalog.problems
    assert "The card of the pack net-1 is wrong" in str(problem)
    with pytest.raises(PackError, match="net-1 is wrong"):
        Catalog(tmp_path)


def test_a_tolerant_catalog_names_every_clash(tmp_path: Path) -> None:
    for version in ("1", "2"):
        written_pack(tmp_path, version=version, default=True)
    written_pack(tmp_path, version="3").directory.rename(tmp_path / "another")
    written_pack(tmp_path, version="3")

    catalog = Catalog(tmp_path, tolerant=True)

    assert [pack.card.version for pack in catalog.packs] == ["1", "2", "3", "3"]
    assert [str(problem) for problem in catalog.problems] == [
        "Two packs are called net@3.",
        "Several packs claim to be the default: net@1, net@2.",
    ]


def test_a_folder_that_is_being_made_is_not_served(tmp_path: Path) -> None:
    written_pack(tmp_path, name="net").directory.rename(tmp_path / ".making-net")

    assert Catalog(tmp_path).packs == ()
    assert Catalog(tmp_path / "absent").packs == ()


@given(model=st.text(max_size=60).filter(lambda name: name not in {"net@1", "styleflow@default"}))
def test_any_other_name_is_unknown_and_the_served_ones_are_listed(
    tmp_path_factory: pytest.TempPathFactory, model: str
) -> None:
    catalog = Catalog(_one_pack(tmp_path_factory))

    with pytest.raises(UnknownModel) as caught:
        catalog.resolve(model)
    assert caught.value.details["served"] == ["styleflow@default", "net@1"]


def _one_pack(factory: pytest.TempPathFactory) -> Path:
    packs = factory.getbasetemp() / "one-pack"
    if not packs.exists():
        written_pack(packs)
    return packs


def test_reading_packs_needs_neither_torch_nor_numpy() -> None:
    program = (
        "import sys, styleflow.packs, styleflow.cli.weights\n"
        "heavy = {'torch', 'numpy', 'safetensors', 'cv2', 'av'} & sys.modules.keys()\n"
        "print(*sorted(heavy))"
    )

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (finished.stdout, finished.stderr) == ("\n", "")
