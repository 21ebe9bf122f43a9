"""Which frames make which clip: pure arithmetic over frame numbers.

A clip is 32 consecutive frames. A plan says which stretches of a video are decoded; `windows` says which frames
of a face's track are judged together, by the rule of the published preprocessing (StyleFlow on FTCN's tools):
no overlap, a rest is covered by the last 32 frames, a track of 16 to 31 frames is mirrored to 32, a shorter one
gives nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # Only for annotations: the decoder's child process imports this file and must stay small.
    from styleflow.report import MediaFacts

CLIP_FRAMES = 32
SHORTEST_CLIP = 16
FALLBACK_RATE = 25.0
"""Frames a second assumed where a header names none."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How much of a video to look at.

    `full` is everything up to `max_clips`; `uniform` is `clips` windows spread evenly; `auto` is `full` for a video
    of at most `clips` windows, or of unknown length, else `uniform`.
    """

    mode: Literal["auto", "full", "uniform"] = "auto"
    clips: int = 16
    max_clips: int = 512

    def __post_init__(self) -> None:
        if self.clips < 1 or self.max_clips < 1:
            raise ValueError("a sampling needs at least one clip")


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """Which frames the decoder hands out, as segments of consecutive frames."""

    mode: Literal["full", "uniform"]
    starts_seconds: tuple[float, ...]
    """Start of each segment in seconds from the start of the video, ascending. `full` has exactly one."""
    clip_frames: int = CLIP_FRAMES
    """Frames of a `uniform` segment."""
    max_frames: int | None
    """Most frames handed out over all segments; None for no bound."""
    truncated: bool
    """True when, by the header, part of the video is left out."""
    clips_planned: int
    """Clips that the video's frames make under this plan; 0 where the header does not tell."""
    end_seconds: float | None = None
    """No frame from here on is handed out."""


@dataclass(frozen=True)
class Window:
    """One clip of a track."""

    positions: tuple[int, ...]
    """32 positions in the track, from 0; neighbours repeat in mirrored order where the track is shorter."""

    @property
    def first(self) -> int:
        return min(self.positions)

    @property
    def last(self) -> int:
        return max(self.positions)

    @property
    def padded(self) -> bool:
        return len(set(self.positions)) < len(self.positions)


def plan_sampling(
    facts: MediaFacts,
    sampling: Sampling,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
) -> SamplingPlan:
    """Choose what to decode of a video, or of its part from `start_seconds` to before `end_seconds`."""
    frames, rate = frames_between(facts, start_seconds, end_seconds)
    spread = sampling.mode == "uniform" or (
        sampling.mode == "auto" and frames is not None and count_windows(frames) > sampling.clips
    )
    if spread and frames is not None and frames >= CLIP_FRAMES:
        starts = uniform_starts(frames, sampling.clips)
        return SamplingPlan(
            mode="uniform",
            starts_seconds=tuple(start_seconds + start / rate for start in starts),
            max_frames=CLIP_FRAMES * len(starts),
            truncated=frames > CLIP_FRAMES * len(starts),
            clips_planned=len(starts),
            end_seconds=end_seconds,
        )
    clips = sampling.max_clips if sampling.mode != "uniform" else sampling.clips
    return SamplingPlan(
        mode="full",
        starts_seconds=(start_seconds,),
        max_frames=CLIP_FRAMES * clips,
        truncated=frames is not None and frames > CLIP_FRAMES * clips,
        clips_planned=min(count_windows(frames), clips) if frames is not None else 0,
        end_seconds=end_seconds,
    )


def frames_between(facts: MediaFacts, start_seconds: float, end_seconds: float | None) -> tuple[int | None, float]:
    """Number of frames in a part of the video by its header (None: unknown), and frames a second."""
    seconds, count = facts.duration_seconds_from_header, facts.frame_count_from_header
    # Count over time is the true mean; the stated rate of a variable-rate file can be far from it.
    rate = count / seconds if count and seconds else (facts.frame_rate or FALLBACK_RATE)
    if seconds is None and count:
        seconds = count / rate
    if seconds is None:
        return None, rate
    end = seconds if end_seconds is None else min(end_seconds, seconds)
    return max(0, round((end - start_seconds) * rate)), rate


def uniform_starts(frames: int, clips: int) -> tuple[int, ...]:
    """First frame of each of at most `clips` windows, centred in equal parts of the video, never overlapping."""
    clips = min(clips, frames // CLIP_FRAMES)
    return tuple(((2 * part + 1) * frames - CLIP_FRAMES * clips) // (2 * clips) for part in range(clips))


def count_windows(frames: int) -> int:
    """How many windows a track of so many frames gives."""
    if frames < SHORTEST_CLIP:
        return 0
    return math.ceil(frames / CLIP_FRAMES)


def windows(frames: int) -> list[Window]:
    """The clips of a track of so many consecutive frames; the last one may re-use frames of the one before."""
    if frames < SHORTEST_CLIP:
        return []
    if frames < CLIP_FRAMES:
        return [Window(mirrored(frames))]
    starts = list(range(0, frames - CLIP_FRAMES + 1, CLIP_FRAMES))
    if frames % CLIP_FRAMES:
        starts.append(frames - CLIP_FRAMES)
    return [Window(tuple(range(start, start + CLIP_FRAMES))) for start in starts]


def mirrored(frames: int) -> tuple[int, ...]:
    """32 positions over 16 to 31 frames: the ends are reflected, without repeating the outermost frame."""
    missing = CLIP_FRAMES - frames
    before = missing // 2
    return tuple(_reflect(position - before, frames) for position in range(CLIP_FRAMES))


def _reflect(position: int, frames: int) -> int:
    if position < 0:
        return -position
    return position if position < frames else 2 * (frames - 1) - position
