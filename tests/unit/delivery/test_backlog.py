from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.backlog import Backlog
from sekisho.queue.spool import DestinationDue, Found

NOW = 1_800_000_000_000


def read(backlog: Backlog, *names: str, has_more: bool = False, later_ms: int | None = None) -> None:
    backlog.reading()
    backlog.read([Found(name, (), has_more, later_ms) for name in names], NOW)


def test_destinations_take_turns() -> None:
    backlog = Backlog()
    for name in ("a", "b", "a", "c"):
        backlog.now(name)
    assert [backlog.rotate() for _ in range(4)] == ["a", "b", "c", "a"]


def test_what_an_answer_does_not_speak_of_is_first_again() -> None:
    backlog = Backlog()
    for name in "abcd":
        backlog.now(name)
    asked = [backlog.rotate() for _ in range(3)]
    backlog.unread([*asked[1:], "gone"])
    assert [backlog.rotate() for _ in range(4)] == ["b", "c", "d", "a"]


def test_what_was_read_to_its_end_is_no_longer_wanted() -> None:
    backlog = Backlog()
    backlog.now("a")
    read(backlog, "a", has_more=True)
    assert backlog.is_wanting("a")
    read(backlog, "a", "never asked")
    assert not backlog.wanting


def test_what_came_while_a_read_was_under_way_is_read_once_more() -> None:
    backlog = Backlog()
    backlog.now("a")
    backlog.reading()
    backlog.now("a")
    backlog.read([Found("a", (), has_more=False, later_ms=None)], NOW)
    assert backlog.is_wanting("a")
    read(backlog, "a")
    assert not backlog.is_wanting("a")


def test_a_read_tells_when_more_is_due() -> None:
    backlog = Backlog()
    backlog.now("a")
    read(backlog, "a", later_ms=NOW + 10)
    assert not backlog.is_wanting("a")
    assert backlog.next_ms == NOW + 10


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


def test_the_list_of_the_spool() -> None:
    backlog = Backlog()
    backlog.learn([DestinationDue("due", NOW - 1), DestinationDue("later", NOW + 1000)], NOW)
    assert backlog.is_wanting("due")
    assert not backlog.is_wanting("later")
    backlog.ripen(NOW + 2000)
    assert backlog.is_wanting("later")
