from __future__ import annotations

from contextlib import ExitStack

from sekisho.service.crowd import BURST, CROWD, Crowd
from tests.fakes.clock import FakeClock

TICK_S = 1 / 16
"""Adds up without rounding."""


def come(crowd: Crowd, number: int) -> None:
    """So many wait at once, and are answered."""
    with ExitStack() as waiting:
        for _ in range(number):
            waiting.enter_context(crowd)


def test_a_crowd_goes_first_also_between_two_commits() -> None:
    clock = FakeClock()
    crowd = Crowd(clock)
    come(crowd, CROWD)
    clock.go(0.05)
    assert crowd.goes_first()


def test_fewer_are_no_crowd_however_many_come_in_turn() -> None:
    crowd = Crowd(FakeClock())
    for _ in range(10):
        come(crowd, CROWD - 1)
    assert not crowd.goes_first()


def test_it_is_over_when_nobody_has_waited_for_a_while() -> None:
    clock = FakeClock()
    crowd = Crowd(clock)
    come(crowd, CROWD)
    clock.go(0.2)
    assert not crowd.goes_first()


def last(crowd: Crowd, clock: FakeClock, duration_s: float) -> list[bool]:
    """A crowd that comes again and again: whether it goes first, each time."""
    found = []
    for _ in range(int(duration_s / TICK_S)):
        come(crowd, CROWD)
        found.append(crowd.goes_first())
        clock.go(TICK_S)
    return found


def test_a_load_that_goes_on_goes_first_only_for_a_moment() -> None:
    clock = FakeClock()
    assert sum(last(Crowd(clock), clock, 60)) == -(-BURST // CROWD)


def test_after_a_rest_the_next_crowd_goes_first_again() -> None:
    clock = FakeClock()
    crowd = Crowd(clock)
    last(crowd, clock, 60)
    assert not crowd.goes_first()
    clock.go(3)
    assert last(crowd, clock, 0.5) == [True] * 8
