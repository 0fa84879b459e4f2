from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.queue.retry import RetryPolicy, next_attempt, next_due

MIDDLE = 0.5


@pytest.mark.parametrize(
    ("attempt", "wait_s"),
    [(1, 60), (2, 120), (3, 240), (8, 7680), (9, 14_400), (10, 14_400), (1_000_000, 14_400), (0, 60)],
)
def test_the_wait_doubles_up_to_the_longest(attempt: int, wait_s: int) -> None:
    assert next_due(attempt, 1_000, 60, 14_400, MIDDLE) == 1_000 + wait_s * 1000


@pytest.mark.parametrize(("jitter", "wait_ms"), [(0.0, 48_000), (MIDDLE, 60_000), (1.0, 72_000)])
def test_jitter_moves_it_by_a_fifth_either_way(jitter: float, wait_ms: int) -> None:
    assert next_due(1, 0, 60, 14_400, jitter) == wait_ms


@given(
    attempt=st.integers(0, 10_000),
    now_ms=st.integers(0, 2**43),
    first_s=st.floats(0, 10_000),
    max_s=st.floats(0, 1_000_000),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_the_next_attempt_is_always_later_and_never_beyond_the_longest_wait(
    attempt: int, now_ms: int, first_s: float, max_s: float, jitter: float
) -> None:
    due = next_due(attempt, now_ms, first_s, max_s, jitter)
    assert now_ms < due <= now_ms + max_s * 1200 + 1


POLICY = RetryPolicy(first_s=60, max_s=600, max_age_s=1000)


@pytest.mark.parametrize(
    ("now_ms", "expected"),
    [
        (100_000, 160_000),
        (939_000, 999_000),
        (999_000, 1_000_000),  # moved forward to the moment of expiry
        (999_999, 1_000_000),
        (1_000_000, None),
        (5_000_000, None),
    ],
)
def test_the_last_attempt_is_at_the_moment_of_expiry(now_ms: int, expected: int | None) -> None:
    assert next_attempt(POLICY, 1, accepted_ms=0, now_ms=now_ms, jitter=MIDDLE) == expected
