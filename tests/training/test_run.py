"""All steps on a drawn store at tiny sizes: what is learnt, what is left behind, what an interruption costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from styleflow.errors import ConfigurationError
from styleflow.models.detector import StyleFlowDetector
from styleflow.models.random_parameters import random_parameters
from styleflow.models.sizes import ContentSizes, StyleGRUSizes
from styleflow.training import judging
from styleflow.training.batches import Batch, drawn_batch
from styleflow.training.geometry import Geometry
from styleflow.training.run import NETWORK, STEPS, Run, sizes_of
from styleflow.training.store import Store
from tests.training.drawn_store import write_drawn
from tests.training.tiny_recipe import TINY_TRAINED, tiny_recipe


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("store"), Geometry(TINY_TRAINED.content.input_size), "drawn")
    write_drawn(store)
    return Store.open(store.directory)


@pytest.fixture(scope="module")
def finished(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tiny_recipe(), store, tmp_path_factory.mktemp("run"))
    assert all(run.step(name) for name in STEPS)
    return run


def test_what_is_left_is_every_parameter_of_the_served_network(finished: Run) -> None:
    state = load_file(finished.out / NETWORK)

    StyleFlowDetector(TINY_TRAINED).load_state_dict(state, strict=True)
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


def test_stage_two_leaves_the_style_branch_as_stage_one_left_it(finished: Run) -> None:
    state, gru = load_file(finished.out / NETWORK), finished.learnt("stage_one")

    for name in ("hidden_state", "gru.weight_ih_l0", "bn.running_var"):
        assert torch.equal(state[f"style_gru.{name}"], gru[name])


def test_stage_two_teaches_the_style_attention_which_began_at_zero(finished: Run) -> None:
    assert load_file(finished.out / NETWORK)["style_attention.lp.weight"].abs().max() > 0


def test_a_finished_step_is_not_run_again(finished: Run) -> None:
    said: list[str] = []
    again = Run(finished.recipe, finished.store, finished.out, say=said.append)

    assert all(again.step(name) for name in STEPS)
    assert said == []


def test_a_folder_is_not_gone_on_with_under_another_recipe_or_store(finished: Run) -> None:
    other_fold = replace(finished.recipe, selection=replace(finished.recipe.selection, held_back=1))
    other_data = replace(finished.store, data_version="of another manifest")

    with pytest.raises(ConfigurationError, match="another recipe"):
        Run(other_fold, finished.store, finished.out).step("encoder")
    with pytest.raises(ConfigurationError, match="another store"):
        Run(finished.recipe, other_data, finished.out).step("encoder")


def test_a_run_that_is_out_of_time_goes_on_and_ends_as_the_other(finished: Run, store: Store, tmp_path: Path) -> None:
    stopped = Run(finished.recipe, store, tmp_path, stop_after_seconds=0.0)
    assert not stopped.step("frames")

    assert Run(finished.recipe, store, tmp_path).step("frames")

    expected, found = finished.learnt("frames"), load_file(tmp_path / "frames.safetensors")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_without_style_the_same_training_is_deaf(finished: Run, store: Store, tmp_path: Path) -> None:
    for name in ("encoder", "frames", "stage_one"):
        (tmp_path / f"{name}.safetensors").write_bytes((finished.out / f"{name}.safetensors").read_bytes())
    deaf = replace(finished.recipe, stage_two=replace(finished.recipe.stage_two, with_style=False))

    assert Run(deaf, store, tmp_path).step("stage_two")

    assert not load_file(tmp_path / NETWORK)["style_attention.lp.weight"].any()


def test_the_trunk_can_learn_along(finished: Run, store: Store, tmp_path: Path) -> None:
    for name in ("encoder", "frames", "stage_one"):
        (tmp_path / f"{name}.safetensors").write_bytes((finished.out / f"{name}.safetensors").read_bytes())
    two = finished.recipe.stage_two
    whole = replace(
        finished.recipe,
        stage_two=replace(two, train_trunk=True, loop=replace(two.loop, steps=2), mix=replace(two.mix, pairs=2)),
    )

    assert Run(whole, store, tmp_path).step("stage_two")

    name = "content.trunk.conv00.weight"
    assert not torch.equal(load_file(tmp_path / NETWORK)[name], load_file(finished.out / NETWORK)[name])


def test_a_network_over_time_learns_from_a_pack_whose_style_encoder_is_kept(store: Store, tmp_path: Path) -> None:
    """As a lab does that holds pSp: the fully temporal content branch, all of it in stage 2."""
    content = ContentSizes(input_size=32, stem=4, inner=(4, 4, 4), depths=(1, 1, 1))
    sizes = replace(TINY_TRAINED, content=content)
    pack = random_parameters(sizes, seed=3)
    recipe = replace(tiny_recipe(), sizes=sizes.to_json())
    recipe = replace(recipe, stage_two=replace(recipe.stage_two, loop=replace(recipe.stage_two.loop, steps=2)))

    run = Run(recipe, store, tmp_path, starting_pack=pack)
    assert all(run.step(name) for name in STEPS)

    learnt = load_file(tmp_path / NETWORK)
    kept = {name for name in learnt if name.startswith("style_encoder.") and learnt[name].is_floating_point()}
    assert all(torch.equal(learnt[name], pack[name]) for name in kept)
    moved = "content.s2.pathway0_res0.branch2.a.weight"
    assert not torch.equal(learnt[moved], pack[moved])


def test_a_starting_pack_of_other_sizes_is_refused(store: Store, tmp_path: Path) -> None:
    pack = random_parameters(replace(TINY_TRAINED, style_gru=StyleGRUSizes(hidden=4)), seed=3)

    with pytest.raises(ConfigurationError, match="does not fit the recipe's network"):
        Run(tiny_recipe(), store, tmp_path, starting_pack=pack).step("encoder")


def test_a_step_judges_on_the_runs_own_device(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, asked = torch.device("cpu", 0), set[object]()  # not equal to the device that is meant by "cpu"

    def recording(*arguments: Any) -> Batch:
        asked.add(arguments[-1])
        return drawn_batch(*arguments)

    monkeypatch.setattr(judging, "drawn_batch", recording)

    assert Run(tiny_recipe(), store, tmp_path, device=place).step("frames")
    assert asked == {place}


def test_a_recipe_that_describes_no_network_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="describes no network"):
        sizes_of(replace(tiny_recipe(), sizes={"content": 3}))
    with pytest.raises(ConfigurationError, match="describes no network"):
        sizes_of(replace(tiny_recipe(), sizes={}, size="enormous"))


def test_training_asks_for_nothing_but_torch_numpy_and_safetensors() -> None:
    absent = [
        "pydantic",
        "cv2",
        "av",
        "structlog",
        "rich",
        "typer",
        "sklearn",
        "scipy",
        "PIL",
        "tensorboard",
        "torchvision",
    ]
    program = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in absent)

    done = subprocess.run(
        [sys.executable, "-c", program + "import styleflow.training.__main__, styleflow.training.run"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
