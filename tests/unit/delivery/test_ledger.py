from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.job import Holding, Job
from sekisho.delivery.ledger import CROWDED_MAX, MOVES_S, STALLED_MAX, Ledger, MemoryLimits
from sekisho.queue.model import Delivery
from tests.fakes.spool import make_message, recipients

LIMITS = MemoryLimits(deliveries=10, bytes=100_000)


def job(first_row: int, *addresses: str, body: bytes = b"x", holding: Holding | None = None) -> Job:
    message = make_message(first_row, body)
    deliveries = tuple(Delivery(first_row + i, message, each, 0, 0) for i, each in enumerate(recipients(*addresses)))
    return Job(deliveries, holding or Holding())


def test_one_destination_gets_half_of_what_is_free() -> None:
    ledger = Ledger(LIMITS)
    row = 0
    while ledger.room("flood", None):
        ledger.admit(job(row, "r@flood"))
        row += 1
    assert len(ledger) == ledger.count("flood") == 5
    assert ledger.room("other", None) == 5


def test_a_lane_holds_little_more_than_it_lets_go_of() -> None:
    ledger, lane = Ledger(MemoryLimits(deliveries=10_000)), Holding()
    row = 0
    while ledger.room(f"d{row}", lane):
        ledger.admit(job(row, f"r@d{row}", holding=lane))
        row += 1
    assert lane.count == STALLED_MAX
    # Each that it settles makes room for the next, and what it settles in a while is kept ready for it.
    lane.settled = STALLED_MAX + 5
    assert ledger.room("more", lane) == 5
    lane.tick(1.0)
    lane.settled = 400
    lane.tick(1.0)
    assert ledger.room("more", lane) == int(MOVES_S * lane.per_second) - STALLED_MAX > 0


def test_what_is_left_of_memory_is_for_lanes_that_move() -> None:
    ledger, stalled, moving = Ledger(MemoryLimits(deliveries=100)), Holding(), Holding()
    for row in range(75):
        ledger.admit(job(row, f"r@d{row}", holding=stalled))
    moving.per_second = 1000
    assert ledger.room("more", stalled) == 0
    assert ledger.room("more", Holding()) == CROWDED_MAX
    assert ledger.room("more", moving) == 25


def test_bytes_are_bounded_too() -> None:
    ledger = Ledger(LIMITS)
    large = job(1, "r@a", body=b"x" * 100_000)
    ledger.admit(large)
    assert ledger.room("b", None) == 0
    ledger.release(large.deliveries[0])
    assert ledger.room("b", None) == 10


def test_content_shared_by_jobs_is_counted_once() -> None:
    message = make_message(1, b"x" * 90_000)
    ledger = Ledger(LIMITS)
    for row, each in enumerate(recipients("a@x", "b@x", "c@x")):
        ledger.admit(Job((Delivery(row, message, each, 0, 0),), Holding(), sharers=3))
    assert ledger.room("y", None) == 7


def test_a_batch_leaves_when_its_last_delivery_does() -> None:
    ledger = Ledger(LIMITS)
    batch = job(1, "a@x", "b@x", "c@y", body=b"x" * 100_000)
    ledger.admit(batch)
    ledger.forget([2])
    assert [delivery.row for delivery in ledger.remaining(batch)] == [1, 3]
    ledger.release(batch.deliveries[0])
    assert ledger.room("z", None) == 0
    ledger.release(batch.deliveries[2])
    ledger.release(batch.deliveries[2])
    assert ledger.room("z", None) == 10
    assert ledger.remaining(batch) == ()
    assert ledger.known("x") == frozenset()


def test_what_is_started_or_being_settled_is_not_forgotten() -> None:
    ledger = Ledger(LIMITS)
    started, settling = job(1, "a@x"), job(2, "a@x", "b@x")
    started.started = True
    ledger.admit(started)
    ledger.admit(settling)
    ledger.settling(settling.deliveries[0])
    ledger.forget([1, 2, 3, 99])
    assert ledger.known("x") == {1, 2}


def test_what_was_to_be_forgotten_under_way_is_released_when_it_comes_back() -> None:
    ledger = Ledger(LIMITS)
    pair = job(1, "a@mx", "b@mx")
    ledger.admit(pair)
    pair.started = True
    ledger.forget([2])
    assert ledger.remaining(pair) == pair.deliveries

    assert ledger.withdraw(pair)
    assert [delivery.row for delivery in ledger.remaining(pair)] == [1]
    assert not ledger.withdraw(pair)


def test_what_is_released_again_under_way_stays() -> None:
    ledger = Ledger(LIMITS)
    one = job(1, "a@mx")
    ledger.admit(one)
    one.started = True
    ledger.forget([1])
    ledger.reinstate([1])

    assert not ledger.withdraw(one)
    assert ledger.remaining(one) == one.deliveries


def test_a_row_that_came_again_belongs_to_the_new_job() -> None:
    ledger = Ledger(LIMITS)
    old, new = job(1, "a@x"), job(1, "a@x")
    ledger.admit(old)
    ledger.forget([1])
    ledger.admit(new)
    assert ledger.remaining(old) == ()
    assert ledger.remaining(new) == new.deliveries


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=30), st.randoms())
def test_everything_that_came_in_and_left_leaves_nothing_behind(shapes: list[tuple[str, int]], random: object) -> None:
    ledger = Ledger(LIMITS)
    jobs = [job(10 * i, *(f"r@{name}" for _ in range(count))) for i, (name, count) in enumerate(shapes)]
    for each in jobs:
        ledger.admit(each)
    deliveries = [delivery for each in jobs for delivery in each.deliveries]
    random.shuffle(deliveries)  # type: ignore[attr-defined]
    for delivery in deliveries:
        ledger.release(delivery)
    assert len(ledger) == 0
    assert ledger._bytes == 0
    assert not ledger._rows
