"""A small store of drawn faces: enough for every step of training to have something to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from styleflow.training.store import Store, VideoFacts

FRAMES = 32


def drawn_clip(seed: int, side: int, frames: int = FRAMES) -> NDArray[np.uint8]:
    """(frames, side, side, 3): a bright oval with two dark eyes, moving a little over a coloured ground."""
    rng = np.random.default_rng(seed)
    ground, skin = rng.uniform(20, 120, 3), rng.uniform(120, 230, 3)
    ys, xs = np.mgrid[0:side, 0:side] / side
    pictures = []
    for number in range(frames):
        shift = 0.03 * np.sin(number / 5 + seed)
        face = np.clip(8 * (0.32 - np.hypot((xs - 0.5 - shift), (ys - 0.55) * 0.8)), 0, 1)[..., None]
        eyes = sum(np.exp(-(((xs - x - shift) ** 2 + (ys - 0.45) ** 2) / 0.002)) for x in (0.4, 0.6))
        pictures.append(ground * (1 - face) + skin * face - 90 * np.asarray(eyes)[..., None])
    return np.clip(np.stack(pictures), 0, 255).astype(np.uint8)


def drawn_landmarks(side: int, frames: int = FRAMES) -> NDArray[np.float32]:
    """(frames, 68, 2): jaw, brows, nose, eyes and mouth in the order of 68 points, on the oval of `drawn_clip`."""
    jaw = [(0.5 + 0.25 * np.cos(a), 0.55 + 0.3 * np.sin(a)) for a in np.linspace(np.pi, 0, 17)]
    brows = [(x, 0.38) for x in np.linspace(0.33, 0.47, 5)] + [(x, 0.38) for x in np.linspace(0.53, 0.67, 5)]
    nose = [(0.5, y) for y in np.linspace(0.45, 0.58, 4)] + [(x, 0.61) for x in np.linspace(0.45, 0.55, 5)]
    eyes = [(c + 0.04 * np.cos(a), 0.45 + 0.02 * np.sin(a)) for c in (0.4, 0.6) for a in np.linspace(0, 5.2, 6)]
    mouth = [(0.5 + 0.09 * np.cos(a), 0.72 + 0.04 * np.sin(a)) for a in np.linspace(0, 6.0, 20)]
    points = np.array(jaw + brows + nose + eyes + mouth, dtype=np.float32) * side
    return points[None].repeat(frames, axis=0)


def write_drawn(store: Store, people: int = 6) -> list[Path]:
    """For each person a real video and one fake of two generators; every second fake is a swap beside its original.
    Two photos besides."""
    side, written = store.geometry.wide_size, []
    marks = drawn_landmarks(side)
    for number in range(people):
        real = VideoFacts(key=f"real-{number}", label="real", identity=f"person-{number}")
        clips = [drawn_clip(10 * number + part, side) for part in range(2)]
        written.append(store.write(real, clips, [marks, marks], starts=[0.0, 2.0]))
        swap = number % 2 == 0
        fake = VideoFacts(
            key=f"fake-{number}",
            label="fake",
            identity=f"person-{number}" if swap else f"made-{number}",
            generator="swapper" if swap else "talker",
            pair=real.key if swap else "",
        )
        altered = [np.clip(clip.astype(int) + 20, 0, 255).astype(np.uint8)[:, ::-1] for clip in clips]
        written.append(store.write(fake, altered, [marks, marks], starts=[0.0, 2.0]))
    for number in range(2):
        photo = VideoFacts(key=f"photo-{number}", label="real", identity=f"photo-{number}")
        written.append(store.write(photo, [drawn_clip(900 + number, side, 1)], [marks[:1]], "photos"))
    return written
