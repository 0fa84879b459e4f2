from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.service.restart import PAUSE_MAX_S, STEADY_S, failures_after, pause_s


def test_one_death_costs_no_pause_and_more_of_them_ever_longer_ones() -> None:
    assert [pause_s(failures) for failures in range(9)] == [0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


@given(st.integers(0, 10**9))
def test_no_pause_is_longer_than_the_longest(failures: int) -> None:
    assert 0 <= pause_s(failures) <= PAUSE_MAX_S
    assert pause_s(failures) <= pause_s(failures + 1)


def test_a_worker_that_ran_for_a_while_starts_anew() -> None:
    assert failures_after(7, STEADY_S) == 1
    assert failures_after(7, STEADY_S - 0.1) == 8
