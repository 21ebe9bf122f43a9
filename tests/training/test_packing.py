from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from styleflow.errors import ConfigurationError
from styleflow.models.random_parameters import random_parameters
from styleflow.training.packing import PackWish, write_trained_pack
from styleflow.training.run import NETWORK
from styleflow.training.run_record import claim
from tests.training.tiny_recipe import TINY_TRAINED, tiny_recipe

WISH = PackWish(name="tiny", version="1", statement="drawn faces")


def test_a_run_of_another_recipe_makes_no_pack(tmp_path: Path) -> None:
    """The card would name a seed, and sizes, that the parameters are not of."""
    out = tmp_path / "run"
    claim(out, tiny_recipe(), "v1")
    save_file(random_parameters(TINY_TRAINED, seed=3), out / NETWORK)

    with pytest.raises(ConfigurationError, match="another recipe"):
        write_trained_pack(tmp_path / "packs", out, replace(tiny_recipe(), seed=7), WISH)
    assert write_trained_pack(tmp_path / "packs", out, tiny_recipe(), WISH).card.name == "tiny"
