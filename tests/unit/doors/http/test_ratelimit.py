from __future__ import annotations

from sekisho.doors.http.ratelimit import COUNTERS_MAX, Pace, Paces

NOW_MS = 1_795_000_020_000
"""Begins a minute."""


def test_what_is_left_counts_down_and_starts_anew_with_the_window() -> None:
    paces = Paces()
    left = [paces.count(Pace.PUBLIC, "a", NOW_MS + number).remaining for number in range(Pace.PUBLIC.calls)]
    assert left == list(range(Pace.PUBLIC.calls))[::-1]
    over = paces.count(Pace.PUBLIC, "a", NOW_MS + 59_999)
    assert (over.allowed, over.remaining, over.reset_s) == (False, 0, NOW_MS // 1000 + 60)
    assert paces.count(Pace.PUBLIC, "a", NOW_MS + 60_000).allowed


def test_each_is_counted_alone_and_so_is_each_class() -> None:
    paces = Paces()
    for _ in range(Pace.PUBLIC.calls):
        paces.count(Pace.PUBLIC, "a", NOW_MS)
    assert paces.is_over(Pace.PUBLIC, "a", NOW_MS)
    assert not paces.is_over(Pace.PUBLIC, "b", NOW_MS)
    assert not paces.is_over(Pace.FAILED_LOGIN, "a", NOW_MS)


def test_looking_does_not_count() -> None:
    paces = Paces()
    for _ in range(1000):
        assert not paces.is_over(Pace.PUBLIC, "a", NOW_MS)
    assert paces.count(Pace.PUBLIC, "a", NOW_MS).remaining == Pace.PUBLIC.calls - 1


def test_strangers_without_number_take_no_more_memory_than_the_bound() -> None:
    paces = Paces()
    for number in range(COUNTERS_MAX + 100):
        paces.count(Pace.PUBLIC, number, NOW_MS)
    assert len(paces._counters) == COUNTERS_MAX


def test_who_goes_on_calling_is_not_forgotten_for_strangers() -> None:
    paces = Paces()
    for _ in range(Pace.PUBLIC.calls):
        paces.count(Pace.PUBLIC, "a", NOW_MS)
    for number in range(COUNTERS_MAX + 100):
        paces.count(Pace.PUBLIC, number, NOW_MS)
        if number % 1000 == 0:
            assert not paces.count(Pace.PUBLIC, "a", NOW_MS).allowed
    assert not paces.count(Pace.PUBLIC, "a", NOW_MS).allowed
