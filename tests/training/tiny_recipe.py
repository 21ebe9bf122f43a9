"""The smallest recipe in which every step learns something, for drawn videos."""

from __future__ import annotations

import tomllib

from styleflow.models.sizes import DetectorSizes
from styleflow.training.recipe import Recipe, built

TEXT = """
name = "tiny"

[selection]  # folds of three, so that the drawn store's fold has fakes of both generators
folds = 3
held_back = 0

[sizes]
style_gru = { hidden = 8 }
content = { backbone = "mobilenet_v2", input_size = 32, width = 16 }
transformer = { heads = 2, head_width = 8, mlp = 16 }

[sizes.style_encoder]
input_size = 32
depths = [1, 1, 1, 1]
channels = [4, 6, 8, 10]
style_width = 6
styles_per_level = [1, 1, 2]

[encoder]
held_back = 0.3
generator = { output_size = 32, channels = [8, 8, 6, 4], styles = 4, style_width = 6 }
loop = { steps = 3, learning_rate = 1e-3, average = 0.9, log_every = 1 }

[encoder.encoder]
input_size = 32
depths = [1, 1, 1, 1]
channels = [4, 6, 8, 10]
style_width = 6
styles_per_level = [1, 1, 2]

[frames]
loop = { steps = 3, learning_rate = 1e-3, average = 0.9, log_every = 1 }
mix = { pairs = 2, frames = 2 }

[stage_one]
triplets = 4
head_hidden = 8
loop = { steps = 4, learning_rate = 1e-3, average = 0.9, log_every = 1 }
mix = { pairs = 2, frames = 32, frame_step = 1, style = true }
reservoir = { rounds = 2, batches_per_round = 2, steps_per_round = 2 }

[stage_two]
pairs = 4
loop = { steps = 4, learning_rate = 1e-3, average = 0.9, log_every = 1 }
mix = { pairs = 2, frames = 32, frame_step = 1, style = true }
reservoir = { rounds = 2, batches_per_round = 2, steps_per_round = 2 }
"""


def tiny_recipe() -> Recipe:
    return built(Recipe, tomllib.loads(TEXT), "tiny")


TINY_TRAINED = DetectorSizes.from_json(tomllib.loads(TEXT)["sizes"])
