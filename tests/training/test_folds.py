from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from styleflow.training.folds import circles_of, folds_of

NAMES = st.sampled_from("abcdefgh")


@dataclass(frozen=True)
class Video:
    identity: str
    donor: str
    generator: str


VIDEOS = st.lists(
    st.builds(Video, identity=NAMES, donor=st.one_of(st.just(""), NAMES), generator=st.sampled_from(["", "x", "y"])),
    min_size=1,
)


@given(VIDEOS, st.integers(2, 5))
def test_nobody_is_in_two_folds_neither_as_body_nor_as_face(videos: list[Video], folds: int) -> None:
    dealt = folds_of(videos, folds)

    of_person: dict[str, set[int]] = {}
    for video in videos:
        for person in {video.identity, video.donor} - {""}:
            of_person.setdefault(person, set()).add(dealt[video.identity])
    assert all(len(found) == 1 for found in of_person.values())


@given(st.data())
def test_the_order_of_videos_decides_nothing(data: st.DataObject) -> None:
    videos = data.draw(VIDEOS)

    assert folds_of(data.draw(st.permutations(videos)), 3) == folds_of(videos, 3)


def test_two_swaps_that_show_one_face_are_in_one_circle() -> None:
    swaps = [Video("ann", "star", "swap"), Video("bob", "star", "swap"), Video("cid", "", "")]

    assert circles_of(swaps) == {"ann": "ann", "bob": "ann", "cid": "cid"}


def test_identities_without_donors_are_dealt_out_evenly() -> None:
    dealt = folds_of([Video(str(number), "", "") for number in range(10)], 5)

    assert sorted(dealt.values()) == sorted([*range(5), *range(5)])
