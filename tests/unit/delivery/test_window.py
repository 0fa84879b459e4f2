"""How many connections at once, without any."""

from __future__ import annotations

import pytest

from sekisho.delivery.window import PAUSE_FIRST_S, PAUSE_MAX_S, Window


def test_a_new_host_gets_one_connection() -> None:
    assert Window(8).size(0) == 1


def test_each_answered_message_allows_one_more_up_to_the_limit() -> None:
    window = Window(8)
    assert [window.answered() for _ in range(10)] == [True] * 7 + [False] * 3
    assert window.size(0) == 8


def test_a_refusal_beside_others_keeps_the_number_that_the_host_took() -> None:
    window = _grown(8)
    window.refused(3, now=10)
    assert window.size(10) == 3
    assert not window.answered()
    assert window.size(10 + PAUSE_FIRST_S - 1) == 3


def test_after_a_pause_one_more_is_tried() -> None:
    window = _grown(8)
    window.refused(3, now=10)
    assert window.size(10 + PAUSE_FIRST_S) == 4


def test_a_vain_try_doubles_the_pause_up_to_its_maximum() -> None:
    window = _grown(8)
    now, pauses = 0.0, []
    for _ in range(8):
        window.refused(3, now)
        pause_s = next(wait for wait in range(1000) if window.size(now + wait) == 4)
        pauses.append(pause_s)
        now += pause_s
    assert pauses == [5, 10, 20, 40, 80, 160, PAUSE_MAX_S, PAUSE_MAX_S]


def test_several_refusals_of_what_was_begun_together_count_once() -> None:
    window = _grown(8)
    for left in (6, 4, 2):
        window.refused(left, now=0)
    assert window.size(PAUSE_FIRST_S - 1) == 2
    assert window.size(PAUSE_FIRST_S) == 3


def test_a_host_that_takes_one_more_gets_one_more_at_once() -> None:
    window = _grown(4)
    window.refused(2, now=0)
    window.opened(3, now=PAUSE_FIRST_S)
    assert window.size(PAUSE_FIRST_S) == 4
    window.opened(4, now=PAUSE_FIRST_S)
    assert window.size(PAUSE_FIRST_S) == 4
    window.refused(3, now=100)
    assert window.size(100 + PAUSE_FIRST_S) == 4  # the pause began anew


def test_a_replacement_for_a_closed_connection_proves_nothing() -> None:
    window = _grown(8)
    window.refused(3, now=0)
    window.opened(3, now=1)
    assert window.size(1) == 3


def test_a_host_that_is_back_is_met_as_a_new_one() -> None:
    window = _grown(8)
    window.refused(3, now=0)
    window.lost()
    assert window.size(0) == 1
    assert window.answered()


def test_there_is_always_one() -> None:
    window = Window(1)
    window.refused(0, now=0)
    assert window.size(0) == 1
    assert window.size(PAUSE_FIRST_S) == 1


@pytest.mark.parametrize("limit", [1, 4, 20])
def test_another_limit_is_followed(limit: int) -> None:
    window = _grown(8)
    window.resize(limit)
    assert window.size(0) == min(8, limit)
    for _ in range(30):
        window.answered()
    assert window.size(0) == limit


def _grown(limit: int) -> Window:
    window = Window(limit)
    for _ in range(limit):
        window.answered()
    return window
