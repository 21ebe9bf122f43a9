"""Branches alone and parts taken away, on a finished run of a drawn store at tiny sizes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styleflow.errors import ConfigurationError
from styleflow.models.sizes import ContentSizes
from styleflow.training.bank import Bank, banked
from styleflow.training.branch_scores import Branch, Part, branch_scores, clip_judge, take_away
from styleflow.training.geometry import Geometry
from styleflow.training.judging import plain_batch
from styleflow.training.run import STEPS, Run
from styleflow.training.store import Store
from tests.training.drawn_store import write_drawn
from tests.training.tiny_recipe import TINY_TRAINED, tiny_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    store = Store.create(tmp_path_factory.mktemp("store"), Geometry(TINY_TRAINED.content.input_size), "drawn")
    write_drawn(store, people=2)
    recipe = tiny_recipe()
    recipe = replace(recipe, selection=replace(recipe.selection, held_back=-1))
    run = Run(recipe, Store.open(store.directory), tmp_path_factory.mktemp("run"))
    assert all(run.step(name) for name in STEPS)
    return run


@pytest.fixture(scope="module")
def bank(run: Run) -> Bank:
    return banked(run.store)


def scores(run: Run, bank: Bank, branch: Branch, without: Collection[Part] = ()) -> torch.Tensor:
    return torch.tensor([score for _, score in branch_scores(run, bank, branch, without)])


@pytest.mark.parametrize("branch", ["content", "style", "network"])
def test_every_video_gets_one_score_that_is_a_number(run: Run, bank: Bank, branch: Branch) -> None:
    found = dict(branch_scores(run, bank, branch))

    assert list(found) == [video.key for video in bank.videos]
    assert len({round(score, 9) for score in found.values()}) > 1
    assert all(score == score for score in found.values())


def test_the_network_says_of_a_clip_what_the_served_one_says(run: Run, bank: Bank) -> None:
    judge, mix = clip_judge(run, "network")
    batch = plain_batch(bank.videos[0], 0, mix, run.framing)
    assert batch.style is not None

    served = run.network()(batch.content.transpose(1, 2) * 2 - 1, batch.style * 2 - 1)

    torch.testing.assert_close(judge(batch), served.logit)


def test_without_style_it_says_what_content_and_transformer_say(run: Run, bank: Bank) -> None:
    network = run.network()
    judge, mix = clip_judge(run, "network", ["style"])
    batch = plain_batch(bank.videos[0], 0, mix, run.framing)

    deaf = network.temporal_transformer(network.content(batch.content.transpose(1, 2) * 2 - 1))[0].squeeze(1)

    torch.testing.assert_close(judge(batch), deaf)
    assert not torch.equal(scores(run, bank, "network", ["style"]), scores(run, bank, "network"))


@pytest.mark.parametrize(("part", "columns"), [("coarse", (0, 6)), ("middle", (6, 12)), ("fine", (12, 24))])
def test_without_a_level_of_the_flow_nothing_in_it_matters(run: Run, part: Part, columns: tuple[int, int]) -> None:
    network = run.network()
    take_away(network, part)
    flow = torch.randn(2, 31, 24, generator=torch.Generator().manual_seed(1))
    inside, outside = flow.clone(), flow.clone()
    inside[..., slice(*columns)] += 1
    outside[..., (columns[1]) % 24] += 1

    said = network.style_gru(flow)

    torch.testing.assert_close(network.style_gru(inside), said)
    assert not torch.allclose(network.style_gru(outside), said)


def test_without_attention_every_style_token_counts_alike(run: Run) -> None:
    network = run.network()
    take_away(network, "attention")
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, 16, 16, generator=generator)

    _, attention = network.fuse(tokens, torch.randn(2, 32, generator=generator))

    torch.testing.assert_close(attention, torch.full((2, 16, 2), 0.5))


def test_a_level_that_the_network_does_not_read_cannot_be_taken_from_it(run: Run) -> None:
    network = run.network()
    network.sizes = replace(network.sizes, style_gru=replace(network.sizes.style_gru, level="fine"))

    with pytest.raises(ConfigurationError, match="reads no coarse styles: its level is fine"):
        take_away(network, "coarse")


def test_what_a_branch_cannot_be_asked_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="only the whole network can be judged without attention, style"):
        clip_judge(run, "content", ["style", "attention"])
    with pytest.raises(ConfigurationError, match="the step network is not finished"):
        clip_judge(replace(run, out=tmp_path), "network")


def test_a_content_branch_over_time_has_no_head_of_its_own(run: Run, tmp_path: Path) -> None:
    content = ContentSizes(input_size=32, stem=4, inner=(4, 4, 4), depths=(1, 1, 1))
    recipe = replace(run.recipe, sizes=replace(TINY_TRAINED, content=content).to_json())
    over_time = Run(recipe, run.store, tmp_path)
    assert over_time.step("frames")

    with pytest.raises(ConfigurationError, match="no step taught it a head"):
        clip_judge(over_time, "content")
