"""A recipe's steps in order, each resumable, each leaving what the next one needs.

    <out>/run.json                   which recipe and which data the folder belongs to (run_record.py)
    <out>/<step>/                    the step's checkpoint and logs (loop.py)
    <out>/<step>.safetensors         what the step learnt, once it is finished; a finished step is not run again
    <out>/network.safetensors        after the last: every parameter of the served network, under its names in a pack

Torch, numpy, safetensors and the standard library are all that is imported.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from styleflow.errors import ConfigurationError
from styleflow.models.content import ContentNetwork
from styleflow.models.detector import StyleFlowDetector
from styleflow.models.layout import differences, entries, layout_of, listing
from styleflow.models.mobile_content import MobileContentNetwork, load_trunk
from styleflow.models.sizes import SIZES, DetectorSizes
from styleflow.models.style_gru import StyleGRUClassifier
from styleflow.training import stage_one, stage_two
from styleflow.training.bank import Bank
from styleflow.training.batches import Batch, BatchMix, Framing, drawn_batch
from styleflow.training.chance import Chance
from styleflow.training.content_stage import FrameHeads, FrameTrainee
from styleflow.training.judging import paired_accuracy, separation, video_scores
from styleflow.training.loop import Fitted, LoopWish, Numbers, Trainee, fit
from styleflow.training.parameters import read_parameters
from styleflow.training.recipe import Recipe
from styleflow.training.reservoir import Reservoir
from styleflow.training.run_record import claim
from styleflow.training.selection import chosen_banks
from styleflow.training.store import Store
from styleflow.training.style_encoder import train_style_encoder

STEPS = ("encoder", "frames", "stage_one", "stage_two")
JUDGED_BATCHES = 12
NETWORK = "network.safetensors"


def _refuse_other_sizes(part: nn.Module, state: Mapping[str, Tensor], whose: str) -> None:
    found = differences(layout_of(part), entries(state))
    if found:
        raise ConfigurationError(f"{whose} does not fit the recipe's network: {listing(found)}")


def sizes_of(recipe: Recipe) -> DetectorSizes:
    """The network that the recipe trains. Raises ConfigurationError."""
    try:
        return DetectorSizes.from_json(recipe.sizes) if recipe.sizes else SIZES[recipe.size]
    except (ValueError, KeyError) as error:
        raise ConfigurationError(f"the recipe {recipe.name} describes no network: {error}") from error


@dataclass(eq=False)
class Run:
    """One recipe on one store."""

    recipe: Recipe
    store: Store
    out: Path
    starting_weights: Mapping[str, Tensor] | None = None
    """Folded ImageNet weights of MobileNetV2, as `models.mobile_content.load_trunk` takes them; None: from scratch."""
    starting_pack: Mapping[str, Tensor] | None = None
    """Parameters of a pack of the same sizes, by their names in it: its style encoder is taken as it is, instead of
    training one (an imported pSp, say), and its content branch and transformer are where training begins."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    stop_after_seconds: float = math.inf
    say: Callable[[str], None] = lambda _: None
    began: float = field(default_factory=time.monotonic)

    @cached_property
    def sizes(self) -> DetectorSizes:
        """Raises ConfigurationError for a recipe that names or describes no network."""
        return sizes_of(self.recipe)

    @cached_property
    def banks(self) -> tuple[Bank, Bank]:
        """(to learn from, to judge by). Raises StoreError and ConfigurationError."""
        return chosen_banks(self.store, self.recipe.selection)

    @cached_property
    def framing(self) -> Framing:
        return Framing(self.store.geometry, self.sizes.style_encoder.input_size)

    def step(self, name: str) -> bool:
        """Run one step, unless it is finished. False where time ran out before it was.

        Raises ConfigurationError for a folder that was begun with another recipe or store.
        """
        claim(self.out, self.recipe, self.store.data_version)
        if self.finished(name):
            return True
        torch.manual_seed(self.recipe.seed)
        self.say(f"step {name}")
        return {"encoder": self._encoder, "frames": self._frames, "stage_one": self._one, "stage_two": self._two}[
            name
        ]()

    def finished(self, name: str) -> bool:
        return self._result(name).exists()

    def _result(self, name: str) -> Path:
        return self.out / f"{name}.safetensors"

    def learnt(self, name: str) -> dict[str, Tensor]:
        """What a finished step left. Raises ConfigurationError where it is not finished, or its file is damaged."""
        if not self.finished(name):
            raise ConfigurationError(f"the step {name} is not finished in {self.out.name}: run it first")
        return read_parameters(self._result(name))

    def _fit(self, name: str, trainee: Trainee, loop: LoopWish) -> Fitted:
        wish = replace(loop, seed=loop.seed + self.recipe.seed)
        return fit(
            trainee,
            self.out / name,
            wish,
            device=self.device,
            stop_after_seconds=self._seconds_left(),
            say=self.say,
        )

    def _seconds_left(self) -> float:
        return max(0.0, self.stop_after_seconds - (time.monotonic() - self.began))

    def _leave(self, name: str, state: Mapping[str, Tensor]) -> None:
        whole = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
        unfinished = self.out / f"{name}.part"
        save_file(whole, unfinished)
        os.replace(unfinished, self._result(name))

    def _draw(self, bank: Bank, mix: BatchMix) -> Callable[[Chance], Batch]:
        return lambda chance: drawn_batch(bank, mix, self.framing, chance, self.device)

    def _encoder(self) -> bool:
        if self.starting_pack is not None:
            self._leave("encoder", self.detector().style_encoder.state_dict())
            return True
        content, features = self._beginning(), None
        if isinstance(content, MobileContentNetwork) and self.starting_weights is not None:
            content.eval().requires_grad_(False)
            features = content.trunk.early
        trained = train_style_encoder(
            self.store,
            self.out / "encoder",
            replace(self.recipe.encoder, encoder=self.sizes.style_encoder),
            features=features,
            held_back={video.identity for video in self.banks[1].videos},
            without_generators=self.recipe.selection.without_generators,
            device=self.device,
            stop_after_seconds=self._seconds_left(),
            say=self.say,
        )
        if trained.finished:
            self._leave("encoder", trained.encoder.state_dict())
        return trained.finished

    def _frames(self) -> bool:
        step = self.recipe.frames
        content = self._beginning()
        if not isinstance(content, MobileContentNetwork):
            # a network over time has no single frames to learn from: stage 2 teaches all of it
            self._leave("frames", content.state_dict())
            return True
        content.trunk.requires_grad_(step.train_trunk)
        learn, judge = self.banks
        trainee = FrameTrainee(
            content,
            FrameHeads(self.sizes.content.width),
            self._draw(learn, step.mix),
            patch_weight=step.patch_weight,
            pair_weight=step.pair_weight,
        )

        def score(batch: Batch) -> Tensor:
            return trainee.logits(batch.content)[1].mean(dim=1).cpu()

        drawn = replace(step.mix, generated=0.0, swaps=0.0)
        trainee.judge_by = lambda: self._figures(judge, drawn, score)
        done = self._fit("frames", trainee, step.loop).finished
        if done:
            # the step's own file comes last: it says that the step is finished
            self._leave("frame_heads", trainee.heads.state_dict())
            self._leave("frames", content.state_dict())
        return done

    def _figures(self, bank: Bank, mix: BatchMix, score: Callable[[Batch], Tensor]) -> Numbers:
        if not bank.reals:
            return {}
        device = self.device
        paired = paired_accuracy(bank, mix, self.framing, score, batches=JUDGED_BATCHES, seed=99, device=device)
        found = {**paired, **separation(list(video_scores(bank, mix, self.framing, score, device=device)))}
        # of the two figures neither alone says enough; where the fold has no pair of both kinds the first stands alone
        return found | {"goal": (found["paired"] + found.get("auc", found["paired"])) / 2}

    def _one(self) -> bool:
        step = self.recipe.stage_one
        detector = self.detector("encoder")
        sizes = self.sizes
        network = StyleGRUClassifier(
            features=sizes.flow_features,
            hidden=sizes.style_gru.hidden,
            head_hidden=step.head_hidden,
            steps=sizes.flow_steps,
            layers=sizes.style_gru.layers,
        )
        learn, judge = self.banks
        make = stage_one.round_of(self._draw(learn, step.mix), detector.style_flow, step.reservoir.batches_per_round)
        reservoir = Reservoir(
            make, step.loop.seed + self.recipe.seed, step.reservoir.rounds, step.reservoir.steps_per_round
        )

        def score(batch: Batch) -> Tensor:
            rows = stage_one.flow_rows(batch, detector.style_flow)
            return torch.as_tensor(network(rows["flow"].float().to(self.device))[0].squeeze(1).cpu())

        drawn = replace(step.mix, generated=0.0, swaps=0.0)
        trainee = stage_one.StageOneTrainee(
            network, reservoir, step.triplets, judge_by=lambda: self._figures(judge, drawn, score)
        )
        done = self._fit("stage_one", trainee, step.loop).finished
        if done:
            self._leave("stage_one", network.state_dict())
        return done

    def _two(self) -> bool:
        step = self.recipe.stage_two
        detector = self.detector("encoder", "frames", "stage_one")
        learn, judge = self.banks
        draw, content = self._draw(learn, step.mix), detector.content
        rows_of = partial(stage_two.pooled_rows, detector=detector)
        if step.train_trunk or not isinstance(content, MobileContentNetwork):
            rows_of = partial(stage_two.picture_rows, detector=detector)
            source = stage_two.drawn_each_step(draw, rows_of)
        else:
            content.trunk.requires_grad_(False)
            content.projection.requires_grad_(False)
            make = stage_two.rows_round(draw, rows_of, step.reservoir.batches_per_round)
            seed = step.loop.seed + self.recipe.seed
            reservoir = Reservoir(make, seed, step.reservoir.rounds, step.reservoir.steps_per_round)
            source = stage_two.from_reservoir(reservoir, step.pairs)
        trainee = stage_two.StageTwoTrainee(detector, source, step.with_style, step.pair_weight)

        def score(batch: Batch) -> Tensor:
            return trainee.logits({name: column.to(self.device) for name, column in rows_of(batch).items()}).cpu()

        drawn = replace(step.mix, generated=0.0, swaps=0.0)
        trainee.judge_by = lambda: self._figures(judge, drawn, score)
        done = self._fit("stage_two", trainee, step.loop).finished
        if done:
            if not step.with_style:
                detector.style_attention.add_nothing()
            self._leave("network", detector.state_dict())
            self._leave("stage_two", trainee.module.state_dict())
        return done

    def _beginning(self) -> ContentNetwork | MobileContentNetwork:
        """The content branch before anything was learnt here."""
        content = self.detector().content
        if isinstance(content, MobileContentNetwork) and self.starting_weights is not None:
            load_trunk(content, self.starting_weights)
        return content

    def network(self) -> StyleFlowDetector:
        """The network as it will be served, in eval mode. Raises ConfigurationError where a step is not finished."""
        network, state = StyleFlowDetector(self.sizes), self.learnt("network")
        _refuse_other_sizes(network, state, "what the run left")
        network.load_state_dict(state)
        return network.to(self.device).eval().requires_grad_(False)

    def detector(self, *steps: str) -> StyleFlowDetector:
        """The network with what the steps learnt, in eval mode; the style branch frozen. Raises ConfigurationError."""
        detector = StyleFlowDetector(self.sizes).to(self.device)
        if self.starting_pack is not None:
            _refuse_other_sizes(detector, self.starting_pack, "the starting pack")
            detector.load_state_dict(self.starting_pack)
        into: dict[str, nn.Module] = {
            "encoder": detector.style_encoder,
            "frames": detector.content,
            "stage_one": detector.style_gru,
        }
        for name in steps:
            state = {key: value for key, value in self.learnt(name).items() if not key.startswith("dense.")}
            _refuse_other_sizes(into[name], state, f"what the step {name} left")
            into[name].load_state_dict(state)
        detector.eval()
        detector.style_encoder.requires_grad_(False)
        detector.style_gru.requires_grad_(False)
        return detector
