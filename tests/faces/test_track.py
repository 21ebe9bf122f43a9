from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from styleflow.faces.detect import Face
from styleflow.faces.look import Look
from styleflow.faces.track import (
    FrameMark,
    Sighting,
    Step,
    Tracker,
    TrackRules,
    displacement,
    overlap,
    prominence,
)
from tests.faces.made_faces import face

KEY_EVERY = 4
KeyFaces = list[list[Face]]


def marks(key: int, segment: int = 0, start: float = 0.0) -> list[FrameMark]:
    """The frames up to the given key frame: the first is a key frame itself, then every fourth."""
    indices = [0] if key == 0 else range(KEY_EVERY * (key - 1) + 1, KEY_EVERY * key + 1)
    return [FrameMark(segment, index, start + index / 25) for index in indices]


def follow(keys: KeyFaces, rules: TrackRules | None = None) -> list[Step]:
    tracker = Tracker(rules)
    steps = [tracker.advance(marks(number), faces) for number, faces in enumerate(keys)]
    return [*steps, tracker.finish()]


def seen(steps: list[Step]) -> list[Sighting]:
    return [sighting for step in steps for sighting in step.sightings]


def tracks(steps: list[Step]) -> dict[int, list[int]]:
    """Frame indices per track."""
    frames: defaultdict[int, list[int]] = defaultdict(list)
    for sighting in seen(steps):
        frames[sighting.track].append(sighting.mark.index)
    return dict(frames)


sides = st.floats(20, 300)
places = st.floats(0, 1000)
made_faces = st.builds(face, places, places, sides, st.floats(0.9, 1.0))
key_faces = st.lists(st.lists(made_faces, max_size=5), min_size=1, max_size=12)
wandering = st.lists(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(-30, 30), st.floats(-30, 30)), max_size=4, unique_by=lambda m: m[0]
    ),
    min_size=1,
    max_size=15,
).map(lambda keys: [[face(200.0 * slot + x, 100 + y) for slot, x, y in key] for key in keys])
either = st.one_of(key_faces, wandering)


@given(either)
def test_no_frame_is_given_twice_to_a_track_or_a_stretch(keys: KeyFaces) -> None:
    sightings = seen(follow(keys))

    assert max(Counter((s.track, s.mark) for s in sightings).values(), default=1) == 1
    assert max(Counter((s.stretch, s.mark) for s in sightings).values(), default=1) == 1


@given(either)
def test_frames_of_a_stretch_follow_each_other_without_a_hole(keys: KeyFaces) -> None:
    stretches: defaultdict[int, list[int]] = defaultdict(list)
    for sighting in seen(follow(keys)):
        stretches[sighting.stretch].append(sighting.mark.index)

    for indices in stretches.values():
        assert indices == list(range(indices[0], indices[0] + len(indices)))


@given(either, st.randoms(use_true_random=False))
def test_the_order_in_which_faces_are_given_does_not_matter(keys: KeyFaces, order: random.Random) -> None:
    shuffled = [order.sample(faces, len(faces)) for faces in keys]

    def described(steps: list[Step]) -> list[object]:
        return [(s.track, s.stretch, s.mark, s.box, s.confidence) for s in seen(steps)]

    assert described(follow(keys)) == described(follow(shuffled))


@given(either)
def test_every_face_is_in_one_sighting_while_there_is_room(keys: KeyFaces) -> None:
    rules = TrackRules(max_open=1000)
    confirmed = Counter((s.mark.index, s.box) for s in seen(follow(keys, rules)) if s.confidence is not None)

    assert confirmed == Counter((KEY_EVERY * number, f.box) for number, faces in enumerate(keys) for f in faces)


@given(either)
def test_every_stretch_ends_once_and_never_speaks_again(keys: KeyFaces) -> None:
    ended: set[int] = set()
    begun: set[int] = set()
    for step in follow(keys):
        for sighting in step.sightings:
            assert sighting.stretch not in ended
            begun.add(sighting.stretch)
        assert {waiting.stretch for waiting in step.waiting}.isdisjoint(step.ended)
        assert ended.isdisjoint(step.ended)
        ended.update(step.ended)

    assert ended == begun


@given(either, st.integers(1, 3))
def test_never_more_faces_are_followed_at_once_than_allowed(keys: KeyFaces, most: int) -> None:
    per_frame: defaultdict[int, set[int]] = defaultdict(set)
    for sighting in seen(follow(keys, TrackRules(max_open=most))):
        if sighting.confidence is None:
            per_frame[sighting.mark.index].add(sighting.track)

    assert all(len(followed) <= most for followed in per_frame.values())


def test_box_and_points_between_two_key_frames_move_straight() -> None:
    sightings = seen(follow([[face(100, 100)], [face(120, 108, side=108)]]))

    assert [s.mark.index for s in sightings] == [0, 1, 2, 3, 4]
    assert [s.confidence is None for s in sightings] == [False, True, True, True, False]
    assert np.allclose(sightings[2].box, (110, 104, 214, 208))
    assert np.allclose(sightings[2].points, (sightings[0].points + sightings[4].points) / 2)


def test_two_faces_are_two_tracks_even_where_they_pass_close_by() -> None:
    keys = [[face(100 + 15 * n, 100), face(400 - 15 * n, 100)] for n in range(6)]

    assert sorted(map(len, tracks(follow(keys)).values())) == [21, 21]


def test_a_face_missed_on_one_key_frame_is_bridged_and_waited_for() -> None:
    steps = follow([[face(100, 100)], [], [face(104, 100)]])

    assert steps[1].waiting[0].box == (100, 100, 200, 200)
    assert tracks(steps) == {0: list(range(9))}
    assert len({s.stretch for s in seen(steps)}) == 1


def test_a_face_missed_on_two_key_frames_returns_as_the_same_track_in_a_new_stretch() -> None:
    steps = follow([[face(100, 100)], [], [], [face(104, 100)]])

    assert tracks(steps) == {0: [0, 12]}
    assert len({s.stretch for s in seen(steps)}) == 2


def test_a_face_that_returns_after_more_than_a_second_is_a_new_track() -> None:
    steps = follow([[face(100, 100)], *[[]] * 8, [face(100, 100)]])

    assert tracks(steps) == {0: [0], 1: [36]}


def test_a_face_that_jumps_is_a_new_track() -> None:
    assert len(tracks(follow([[face(100, 100)], [face(300, 100)]]))) == 2


def test_a_face_at_the_same_place_in_the_next_segment_continues_its_track() -> None:
    tracker = Tracker()
    first = tracker.advance(marks(0), [face(100, 100), face(500, 100)])
    second = tracker.advance(marks(0, segment=1, start=60), [face(520, 110, 110), face(110, 90)])

    assert {s.track: s.box[0] for s in first.sightings} == {0: 100, 1: 500}
    assert {s.track: s.box[0] for s in second.sightings} == {0: 110, 1: 520}
    assert set(second.ended) == {s.stretch for s in first.sightings}


def shown(made: Face, person: int) -> Face:
    """The face as one of several people who look nothing alike."""
    layout, colours = np.zeros(192), np.zeros(512)
    layout[person] = colours[person] = 1.0
    return replace(made, look=Look(layout, colours))


def test_another_person_at_the_same_place_begins_another_track_at_once() -> None:
    steps = follow([[shown(face(100, 100), person)] for person in (0, 0, 1, 1)])

    assert tracks(steps) == {0: [0, 1, 2, 3, 4], 1: [8, 9, 10, 11, 12]}
    assert steps[2].ended == (0,)
    assert steps[2].waiting == ()


def test_a_cut_away_and_back_is_never_bridged() -> None:
    steps = follow([[shown(face(100, 100), person)] for person in (0, 1, 0)])

    assert tracks(steps) == {0: [0, 8], 1: [4]}
    assert len({s.stretch for s in seen(steps)}) == 3


def test_a_face_that_nobody_looked_at_is_followed_by_place_alone() -> None:
    steps = follow([[shown(face(100, 100), 0)], [face(100, 100)], [shown(face(100, 100), 1)]])

    assert tracks(steps) == {0: list(range(9))}


def test_a_face_of_other_size_or_place_in_the_next_segment_is_a_new_track() -> None:
    for other in (face(100, 100, side=200), face(200, 200)):
        tracker = Tracker()
        tracker.advance(marks(0), [face(100, 100)])

        assert tracker.advance(marks(0, segment=1, start=60), [other]).sightings[0].track == 1


def test_two_faces_of_the_next_segment_never_continue_the_same_track() -> None:
    tracker = Tracker()
    tracker.advance(marks(0), [face(100, 100)])
    step = tracker.advance(marks(0, segment=1, start=60), [face(95, 100), face(135, 100)])

    assert {s.box[0]: s.track for s in step.sightings} == {95: 0, 135: 1}


def test_a_track_is_not_continued_over_a_segment_without_it() -> None:
    tracker = Tracker()
    tracker.advance(marks(0), [face(100, 100)])
    tracker.advance(marks(0, segment=1, start=60), [])

    assert tracker.advance(marks(0, segment=2, start=120), [face(100, 100)]).sightings[0].track == 1


@given(either, st.integers(0, 14))
def test_no_stretch_reaches_over_a_break(keys: KeyFaces, at: int) -> None:
    tracker = Tracker()
    before = [tracker.advance(marks(number), faces) for number, faces in enumerate(keys[:at])]
    broken = tracker.break_off()
    rest = [tracker.advance(marks(at + number), faces) for number, faces in enumerate(keys[at:])]
    steps = [*before, broken, *rest, tracker.finish()]

    assert {s.stretch for s in seen(before)}.isdisjoint(s.stretch for s in seen(rest))
    ended = [stretch for step in steps for stretch in step.ended]
    assert sorted(ended) == sorted({s.stretch for s in seen(steps)})


def test_a_face_near_its_place_after_a_break_continues_its_track_however_long_the_hole() -> None:
    tracker = Tracker()
    tracker.advance(marks(0), [face(100, 100)])
    tracker.break_off()
    step = tracker.advance(marks(1, start=30.0), [face(140, 100)])

    assert {(s.track, s.stretch) for s in step.sightings} == {(0, 1)}


def test_the_time_of_a_hole_does_not_count_as_absence_and_the_time_after_it_does() -> None:
    tracker = Tracker()
    tracker.advance(marks(0), [face(100, 100)])
    tracker.break_off()
    steps = [tracker.advance(marks(number, start=30.0), []) for number in range(1, 9)]
    assert seen(steps) == []

    assert tracker.advance(marks(9, start=30.0), [face(100, 100)]).sightings[0].track == 1


def test_with_too_many_faces_the_largest_are_kept_and_the_rest_counted() -> None:
    tracker = Tracker(TrackRules(max_open=2))
    step = tracker.advance(marks(0), [face(0, 0, 50), face(200, 0, 100), face(400, 0, 90)])

    assert sorted(s.box[0] for s in step.sightings) == [200, 400]
    assert tracker.faces_ignored == 1


def test_a_much_larger_face_takes_the_place_of_the_smallest() -> None:
    tracker = Tracker(TrackRules(max_open=1))
    small = tracker.advance(marks(0), [face(0, 0, 50)]).sightings[0]
    step = tracker.advance(marks(1), [face(0, 0, 50), face(200, 0, 100)])

    assert step.ended == (small.stretch,)
    assert step.sightings[-1].box == (200, 0, 300, 100)


@given(made_faces, made_faces)
def test_overlap_is_symmetric_and_between_0_and_1(a: Face, b: Face) -> None:
    assert overlap(a.box, b.box) == overlap(b.box, a.box)
    assert 0 <= overlap(a.box, b.box) <= 1 + 1e-12
    assert overlap(a.box, a.box) > 0.999999


def test_displacement_is_in_box_sides_and_growth_is_at_least_one() -> None:
    assert displacement((0, 0, 100, 100), (50, 0, 150, 100)) == (0.5, 1.0)
    assert displacement((0, 0, 100, 100), (0, 0, 50, 50))[1] == 2.0


def test_prominence_weighs_size_by_confidence() -> None:
    assert prominence(face(0, 0, 100, 0.9)) == 90.0
