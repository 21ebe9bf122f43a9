"""What of a plan did not come out of the decoder, as far as the header and the frames' times can tell.

Damaged files seldom end in an error: demuxers skip what they cannot read and go on, or take a cut for the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from styleflow.detection.pace import HOLE_IN_STEPS, Pace
from styleflow.report import MediaFacts
from styleflow.video.clips import FALLBACK_RATE, SamplingPlan, frames_between

LONGEST_STEP_SECONDS = 0.5
"""A step between two frames beyond this, and beyond several usual ones, is told as a loss."""
OVERHANG_SECONDS = 1.0
OVERHANG_SHARE = 0.2
"""By so much, but at most this share of the part looked at, a header may promise more than there is: in some
containers it gives the length of the sound."""
LEAST_SHARE_OF_FRAMES = 0.8
"""Of the header's frame count. Players leave out a few frames too, by edit lists and at a cut."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """What came of a video."""

    frames: int
    pace: Pace
    damaged_frames: int = 0
    """Frames that the decoder left out or patched up."""


def losses(facts: MediaFacts, plan: SamplingPlan, received: Received) -> list[str]:
    """One sentence for each sign of a loss; none where everything that was planned seems to be there."""
    if not received.frames:
        return []
    found = [
        _shorter_than_its_frames(facts),
        _ended_early(facts, plan, received),
        _too_few(facts, plan, received),
        _late_or_torn(plan, received.pace),
        f"{received.damaged_frames} frames are damaged." if received.damaged_frames > 0 else None,
    ]
    return [sentence for sentence in found if sentence]


def holds_frames(facts: MediaFacts, plan: SamplingPlan) -> bool:
    """Whether, by the header, a frame must come of the plan. Without a duration only the start of the video is sure to
    have one."""
    start, duration = plan.starts_seconds[0], facts.duration_seconds_from_header
    if start == 0:
        return True
    if duration is None or start >= duration - _overhang(duration):
        return False
    expected, _ = frames_between(facts, start, plan.end_seconds)
    return expected is None or expected > 1


def _ended_early(facts: MediaFacts, plan: SamplingPlan, received: Received) -> str | None:
    ends = [end for end in (facts.duration_seconds_from_header, plan.end_seconds) if end is not None]
    stopped = plan.max_frames is not None and received.frames >= plan.max_frames
    if facts.duration_seconds_from_header is None or stopped:
        return None
    step = received.pace.usual_step or 1 / (facts.frame_rate or FALLBACK_RATE)
    reached = max(times.last for times in received.pace.segments.values()) + step
    tolerance = max(_overhang(min(ends) - plan.starts_seconds[0]), HOLE_IN_STEPS * step)
    if reached >= min(ends) - tolerance:
        return None
    return f"The last frame lies at {reached - step:.1f} s of {min(ends):.1f} s."


def _shorter_than_its_frames(facts: MediaFacts) -> str | None:
    """Demuxers guess the length of a cut file from its bytes, while the header still counts all its frames."""
    promised, rate, duration = facts.frame_count_from_header, facts.frame_rate, facts.duration_seconds_from_header
    if not promised or not rate or duration is None or promised / rate <= duration + _overhang(promised / rate):
        return None
    return f"The header names {promised} frames, and the file lasts {duration:.1f} s at {rate:.1f} a second."


def _too_few(facts: MediaFacts, plan: SamplingPlan, received: Received) -> str | None:
    promised = facts.frame_count_from_header
    whole = plan.mode == "full" and plan.starts_seconds[0] == 0 and plan.end_seconds is None
    if promised is None or not whole:
        return None
    expected = min(promised, plan.max_frames) if plan.max_frames is not None else promised
    if received.frames >= LEAST_SHARE_OF_FRAMES * expected:
        return None
    return f"{received.frames} of {expected} frames could be decoded."


def _late_or_torn(plan: SamplingPlan, pace: Pace) -> str | None:
    """The longest time without a frame, before the first of a segment or between two."""
    limit = max(LONGEST_STEP_SECONDS, HOLE_IN_STEPS * (pace.usual_step or 0.0))
    late, before = [], 0.0
    for segment, times in pace.segments.items():
        # where the rate varies, a segment may have taken frames of the next one's time
        late.append(times.first - max(plan.starts_seconds[segment], before))
        before = times.last
    torn = [times.longest_step for times in pace.segments.values()]
    # without a usual step there is nothing to hold a single one against
    longest = max([*late, *(torn if pace.usual_step is not None else [])])
    return f"For {longest:.1f} s there is no frame." if longest > limit else None


def _overhang(seconds: float) -> float:
    return min(OVERHANG_SECONDS, OVERHANG_SHARE * seconds)
