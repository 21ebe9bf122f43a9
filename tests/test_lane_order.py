"""Which lane a worker asks first: urgent work nearly always, and never nothing but urgent work."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from styleflow.lane_order import SHARE, LaneOrder

LANES = ["realtime", "standard", "bulk"]


def taken(waiting: Counter[str], messages: int, lanes: list[str] = LANES) -> list[str]:
    """The lanes of so many messages in a row, as Redis gives them: from the first list that has one."""
    order = LaneOrder()
    order.update(lanes)
    found = []
    for _ in range(messages):
        lane = next(lane for lane in order.consume(len(lanes)) if waiting[lane])
        waiting[lane] -= 1
        found.append(order.rotate(lane))
    return found


def test_every_tenth_message_is_another_lanes_while_the_most_urgent_is_never_empty() -> None:
    found = taken(Counter(realtime=100, standard=100), 2 * SHARE)

    assert found == 2 * [*(SHARE - 1) * ["realtime"], "standard"]


def test_bulk_is_reached_too_where_nothing_else_waits() -> None:
    assert taken(Counter(realtime=100, bulk=1), SHARE)[-1] == "bulk"


def test_where_nothing_else_waits_urgent_work_has_every_place() -> None:
    assert set(taken(Counter(realtime=100), 50)) == {"realtime"}


def test_a_slot_of_one_lane_stays_with_it() -> None:
    assert set(taken(Counter(realtime=100), 50, ["realtime"])) == {"realtime"}


def test_before_any_queue_is_known_there_is_nothing_to_ask() -> None:
    assert LaneOrder().consume(0) == []


@given(realtime=st.integers(1, 60), standard=st.integers(0, 60), bulk=st.integers(0, 60))
def test_everything_goes_and_urgent_work_waits_for_no_more_than_the_others_share(
    realtime: int, standard: int, bulk: int
) -> None:
    everything = Counter(realtime=realtime, standard=standard, bulk=bulk)

    found = taken(everything.copy(), everything.total())

    assert Counter(found) == everything
    last = len(found) - 1 - found[::-1].index("realtime")
    assert found[0] == "realtime"
    assert sum(lane != "realtime" for lane in found[:last]) <= (realtime - 1) // (SHARE - 1)
