"""The smallest recipe in which every step learns something, for drawn stores."""

from __future__ import annotations

from styleflow.models.sizes import (
    DetectorSizes,
    MobileContentSizes,
    StyleEncoderSizes,
    StyleGRUSizes,
    TransformerSizes,
)
from styleflow.training.batches import BatchMix
from styleflow.training.loop import LoopWish
from styleflow.training.recipe import FramesStep, Recipe, ReservoirWish, Selection, StageOneStep, StageTwoStep
from styleflow.training.style_encoder import EncoderTraining
from styleflow.training.style_generator import StyleGeneratorSizes

TINY_TRAINED = DetectorSizes(
    style_encoder=StyleEncoderSizes(
        input_size=32, depths=(1, 1, 1, 1), channels=(4, 6, 8, 10), style_width=6, styles_per_level=(1, 1, 2)
    ),
    style_gru=StyleGRUSizes(hidden=8),
    content=MobileContentSizes(input_size=32, width=16),
    transformer=TransformerSizes(heads=2, head_width=8, mlp=16),
)
CLIPS = BatchMix(pairs=2, frames=32, frame_step=1, style=True)


def loop(steps: int) -> LoopWish:
    return LoopWish(steps=steps, learning_rate=1e-3, average=0.9, log_every=1)


def tiny_recipe() -> Recipe:
    """Folds of three, so that the drawn store's fold has fakes of both generators."""
    return Recipe(
        name="tiny",
        sizes=TINY_TRAINED.to_json(),
        selection=Selection(folds=3, held_back=0),
        encoder=EncoderTraining(
            encoder=TINY_TRAINED.style_encoder,
            generator=StyleGeneratorSizes(output_size=32, channels=(8, 8, 6, 4), styles=4, style_width=6),
            loop=loop(3),
            held_back=0.3,
        ),
        frames=FramesStep(loop=loop(3), mix=BatchMix(pairs=2, frames=2)),
        stage_one=StageOneStep(
            loop=loop(4),
            mix=CLIPS,
            reservoir=ReservoirWish(rounds=2, batches_per_round=2, steps_per_round=2),
            triplets=4,
            head_hidden=8,
        ),
        stage_two=StageTwoStep(
            loop=loop(4),
            mix=CLIPS,
            reservoir=ReservoirWish(rounds=2, batches_per_round=2, steps_per_round=2),
            pairs=4,
        ),
    )
