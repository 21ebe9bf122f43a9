from __future__ import annotations

from pathlib import Path

import pytest

from styleflow.errors import ConfigurationError
from styleflow.training.recipe import Recipe
from styleflow.training.run import sizes_of
from tests.training.tiny_recipe import TINY_TRAINED, tiny_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_can_be_read(path: Path) -> None:
    recipe = Recipe.read(path)

    assert recipe.name == path.stem
    assert recipe.frames.mix.frames >= 1


def written(tmp_path: Path, old: str, new: str) -> Path:
    text = (RECIPES / "compact.toml").read_text()
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("patch_weight", "patch_wait", "there is no 'patch_wait'"),
        ("seed = 0", "seed = 'nought'", "seed must be int"),
        ("folds = 5", "folds = 5.5", "folds must be int"),
        ("[stage_one]", "[stage_three]", "there is no 'stage_three'"),
        ("folds = 5", "folds = 1", "selection: folds must be 2 or more"),
        ("held_back = 0", "held_back = 5", "held_back must be -1 or one of the folds 0 to 4, not 5"),
        ("held_back = 0", "held_back = -2", "held_back must be -1 or one of"),
        ("smoothed_flow = 0.3", "smoothed_flew = 0.3", "no pseudo-fake smoothed_flew; known are self_blend"),
        (
            "smoothed_flow = 0.3",
            "smoothed_flow = -0.3",
            "stage_one.mix: the weights of pseudo-fakes must not be negative",
        ),
        ("generated = 0.2, swaps", "generated = 0.9, swaps", "frames.mix: generated and swaps must be shares"),
        (
            "pairs = 8, frames = 4",
            "pairs = 8, frames = 0",
            "frames.mix: pairs, frames and frame_step must be 1 or more",
        ),
        ("frames = 32, frame_step = 1", "frames = 16, frame_step = 2", "style needs a frame_step of 1"),
        ('name = "compact"\n', "", "'name' is missing"),
        ('name = "compact"', 'name = "compact', "cannot be read"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused_with_what_and_where(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Recipe.read(written(tmp_path, old, new))


def test_a_network_of_other_sizes_can_be_described() -> None:
    assert sizes_of(tiny_recipe()) == TINY_TRAINED


def test_a_whole_number_will_do_for_a_fraction(tmp_path: Path) -> None:
    assert Recipe.read(written(tmp_path, "patch_weight = 1.0", "patch_weight = 2")).frames.patch_weight == 2.0
