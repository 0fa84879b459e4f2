from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.backlog import Backlog
from sekisho.queue.spool import DestinationDue

NOW = 1_800_000_000_000


def order(backlog: Backlog) -> list[str]:
    found = []
    while backlog.wanting:
        found.append(backlog.first)
        backlog.drained(backlog.first)
    return found


def test_destinations_take_turns() -> None:
    backlog = Backlog()
    for name in ("a", "b", "a", "c"):
        backlog.now(name)
    backlog.turned("a")
    assert order(backlog) == ["b", "c", "a"]


def test_a_destination_that_is_not_wanting_is_not_turned_in() -> None:
    backlog = Backlog()
    backlog.turned("a")
    assert not backlog.wanting


@given(wait_ms=st.integers(1, 10**9))
def test_a_due_time_is_never_early_and_late_by_at_most_a_sixteenth(wait_ms: int) -> None:
    backlog = Backlog()
    backlog.later("a", NOW + wait_ms, NOW)
    next_ms = backlog.next_ms
    assert next_ms is not None
    assert wait_ms <= next_ms - NOW <= wait_ms + wait_ms // 16
    backlog.ripen(next_ms - 1)
    assert not backlog.is_wanting("a")
    backlog.ripen(next_ms)
    assert backlog.is_wanting("a")
    assert backlog.next_ms is None


def test_what_is_due_already_is_wanting_at_once() -> None:
    backlog = Backlog()
    backlog.later("a", NOW, NOW)
    assert backlog.is_wanting("a")


@given(st.lists(st.integers(48_000, 72_000), min_size=100, max_size=500))
def test_many_retries_of_one_destination_take_few_buckets(waits: list[int]) -> None:
    backlog = Backlog()
    for wait in waits:
        backlog.later("a", NOW + wait, NOW)
    assert len(backlog._heap) <= 20


def test_sums_of_the_spool() -> None:
    backlog = Backlog()
    backlog.learn(
        [
            DestinationDue("due", 5, NOW - 1),
            DestinationDue("mixed", 2, NOW - 1, NOW + 1000),
            DestinationDue("later", 1, NOW + 1000, NOW + 1000),
        ],
        NOW,
    )
    assert not backlog.is_wanting("later")
    assert backlog.drained("due") is False
    # One due, perhaps in memory, and one due later: its time is known although the first hides it.
    assert backlog.drained("mixed") is True  # and of a third one nothing would be known: sum up again
    backlog.ripen(NOW + 2000)
    assert backlog.is_wanting("mixed")
    assert backlog.drained("later") is False
