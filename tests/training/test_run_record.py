from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from styleflow.errors import ConfigurationError
from styleflow.training.recipe import Recipe, Selection, built
from styleflow.training.run_record import RECORD, claim, recipe_sha256, refuse_another_recipe, refuse_another_store
from tests.training.tiny_recipe import TEXT, tiny_recipe

OTHER_FOLD = replace(tiny_recipe(), selection=Selection(folds=3, held_back=1))
OTHER_SEED = replace(tiny_recipe(), seed=7)


def test_a_folder_that_is_new_is_claimed_and_may_be_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "not" / "there"

    claim(out, tiny_recipe(), "v1")
    claim(out, tiny_recipe(), "v1")
    refuse_another_recipe(out, tiny_recipe())

    assert [path.name for path in out.iterdir()] == [RECORD]


@pytest.mark.parametrize("other", [OTHER_FOLD, OTHER_SEED], ids=["fold", "seed"])
def test_a_folder_of_another_fold_or_seed_is_refused(tmp_path: Path, other: Recipe) -> None:
    claim(tmp_path, tiny_recipe(), "v1")

    with pytest.raises(ConfigurationError, match=r"begun with another recipe: "):
        claim(tmp_path, other, "v1")
    with pytest.raises(ConfigurationError, match=r"begun with another recipe: "):
        refuse_another_recipe(tmp_path, other)


def test_a_folder_of_another_store_is_refused(tmp_path: Path) -> None:
    claim(tmp_path, tiny_recipe(), "v1")

    with pytest.raises(ConfigurationError, match=r"begun with another store: "):
        claim(tmp_path, tiny_recipe(), "v2")
    with pytest.raises(ConfigurationError, match=r"begun with another store: "):
        refuse_another_store(tmp_path, "v2")
    refuse_another_store(tmp_path, "v1")
    with pytest.raises(ConfigurationError, match="another recipe and another store"):
        claim(tmp_path, OTHER_SEED, "v2")


def test_a_record_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("{")

    with pytest.raises(ConfigurationError, match=r"run\.json in .* cannot be read"):
        claim(tmp_path, tiny_recipe(), "v1")


def test_what_a_recipe_says_counts_and_not_how_it_is_written() -> None:
    annotated = built(Recipe, tomllib.loads("# a word\n" + TEXT), "t")
    said_anyway = built(Recipe, {"seed": 0, **tomllib.loads(TEXT)}, "t")

    assert recipe_sha256(annotated) == recipe_sha256(said_anyway) == recipe_sha256(tiny_recipe())
    assert recipe_sha256(OTHER_SEED) != recipe_sha256(tiny_recipe())
