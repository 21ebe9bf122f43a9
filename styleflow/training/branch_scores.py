"""What the branches of a finished run say alone, and its network without one of its parts: baselines and ablations.

The clips are those of a store, as they are, so that nothing has to be decoded and tracked again. Torch, numpy,
safetensors and the standard library are all that is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from styleflow.errors import ConfigurationError
from styleflow.models.detector import StyleFlowDetector
from styleflow.models.mobile_content import MobileContentNetwork
from styleflow.models.style_gru import StyleGRUClassifier
from styleflow.training import stage_one, stage_two
from styleflow.training.bank import Bank
from styleflow.training.batches import Batch, BatchMix
from styleflow.training.content_stage import FrameHeads, frame_logits
from styleflow.training.judging import Judge, video_scores
from styleflow.training.run import Run

Branch = Literal["content", "style", "network"]
"""The content branch under the head that the step `frames` taught, the StyleGRU under that of stage 1, or all of it."""
Part = Literal["style", "attention", "coarse", "middle", "fine"]
"""What the network can be judged without: all that style adds; the choice among style tokens, which then count alike;
or one level of the style flow."""
LEVELS: tuple[Part, ...] = ("coarse", "middle", "fine")


def branch_scores(run: Run, bank: Bank, branch: Branch, without: Collection[Part] = ()) -> Iterator[tuple[str, float]]:
    """Key in the store and mean clip logit of every video; higher means fake, and no two branches share a scale.

    Raises ConfigurationError for steps that are not finished, and for a branch that the recipe's network does not have.
    """
    judge, mix = clip_judge(run, branch, without)
    for video, score in video_scores(bank, mix, run.framing, judge, device=run.device):
        yield video.key, score


def clip_judge(run: Run, branch: Branch, without: Collection[Part] = ()) -> tuple[Judge, BatchMix]:
    """What scores clips, and how they must be cut for it. Raises ConfigurationError."""
    if without and branch != "network":
        raise ConfigurationError(f"only the whole network can be judged without {', '.join(sorted(without))}")
    if branch == "network":
        judge, mix = _network(run, without)
    else:
        judge, mix = _content(run) if branch == "content" else _style(run)
    return torch.inference_mode()(judge), replace(mix, frames=run.sizes.clip_frames // mix.frame_step)


def _content(run: Run) -> tuple[Judge, BatchMix]:
    content = run.detector("frames").content
    if not isinstance(content, MobileContentNetwork):
        raise ConfigurationError("a content branch over time says nothing alone: no step taught it a head of its own")
    heads = FrameHeads(run.sizes.content.width).to(run.device).eval()
    heads.load_state_dict(run.learnt("frame_heads"))
    return lambda batch: frame_logits(content, heads, batch.content)[1].mean(dim=1), run.recipe.frames.mix


def _style(run: Run) -> tuple[Judge, BatchMix]:
    detector, sizes = run.detector("encoder"), run.sizes
    network = StyleGRUClassifier(
        features=sizes.flow_features,
        hidden=sizes.style_gru.hidden,
        head_hidden=run.recipe.stage_one.head_hidden,
        steps=sizes.flow_steps,
        layers=sizes.style_gru.layers,
    )
    network.load_state_dict(run.learnt("stage_one"))
    network.to(run.device).eval()

    def judge(batch: Batch) -> Tensor:
        flow = stage_one.flow_rows(batch, detector.style_flow)["flow"].float().to(run.device)
        return torch.as_tensor(network(flow)[0].squeeze(1))

    return judge, run.recipe.stage_one.mix


def _network(run: Run, without: Collection[Part]) -> tuple[Judge, BatchMix]:
    detector = run.network()
    for part in without:
        take_away(detector, part)

    def judge(batch: Batch) -> Tensor:
        rows = stage_two.picture_rows(batch, detector)
        tokens, _ = detector.fuse(stage_two.content_tokens(detector, rows), rows["embedding"].float())
        return torch.as_tensor(detector.temporal_transformer(tokens)[0]).float().squeeze(1)

    return judge, run.recipe.stage_two.mix


def take_away(detector: StyleFlowDetector, part: Part) -> None:
    """Change the network so that a part of it decides nothing. Raises ConfigurationError for a level that it does not
    read."""
    if part == "style":
        detector.style_attention.add_nothing()
    elif part == "attention":
        for projection in (detector.style_attention.w_q, detector.style_attention.w_k):
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)
    else:
        _deafen(detector, part)


def _deafen(detector: StyleFlowDetector, part: Part) -> None:
    """The StyleGRU's first layer no longer reads the flow of a level."""
    sizes = detector.sizes
    level, read = sizes.style_encoder.levels()[LEVELS.index(part)], sizes.style_encoder.read_by(sizes.style_gru.level)
    if level.start < read.start or level.stop > read.stop:
        raise ConfigurationError(f"the network reads no {part} styles: its level is {sizes.style_gru.level}")
    width = sizes.style_encoder.style_width
    columns = slice((level.start - read.start) * width, (level.stop - read.start) * width)
    parameters = dict(detector.style_gru.gru.named_parameters())
    with torch.no_grad():
        for direction in ("", "_reverse"):
            parameters[f"weight_ih_l0{direction}"][:, columns] = 0
