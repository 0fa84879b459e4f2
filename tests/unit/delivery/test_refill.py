from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sekisho.delivery.backlog import Backlog
from sekisho.delivery.feed import Gate
from sekisho.delivery.lanes import Lane
from sekisho.delivery.refill import Refill
from sekisho.delivery.shaping import Shape
from sekisho.queue.model import Delivery
from sekisho.queue.spool import Found, HeldSenders, Wanted
from tests.fakes.clock import FakeClock

DESTINATION = "d.test"


def a_lane() -> Lane:
    lane = Lane(cast("Any", None), None, Shape(), DESTINATION)
    lane.feed = cast("Any", SimpleNamespace(gate=Gate.OPEN, wants_probe=False))
    return lane


class Spool:
    """Has nothing that memory does not know; something happens while it looks."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile

    async def due(self, wanted: Sequence[Wanted], *_: object) -> Sequence[Found]:
        self.meanwhile()
        return [Found(each.destination, (), False, None) for each in wanted]


class Ledger:
    free = 100

    def count(self, _destination: str) -> int:
        return 1

    def known(self, _destination: str) -> Collection[int]:
        return (1,)

    def has(self, _delivery: Delivery) -> bool:
        return False


async def after_a_read(lane: Lane, meanwhile: Callable[[], None]) -> Backlog:
    backlog = Backlog()
    backlog.now(DESTINATION)
    refill = Refill(
        cast("Any", Spool(meanwhile)),
        ledger=cast("Any", Ledger()),
        backlog=backlog,
        lanes=cast("Any", SimpleNamespace(recent=lambda _: lane, routes=SimpleNamespace(splits=lambda _: False))),
        clock=FakeClock(),
        holds=HeldSenders,
        max_age_ms=1000,
        room=lambda *_: 10,
        admit=lambda _: None,
    )
    await refill._read_what_fits()
    return backlog


async def test_what_is_parked_no_more_is_forgotten() -> None:
    lane = a_lane()
    lane.parked_at(DESTINATION)
    backlog = await after_a_read(lane, lambda: None)
    assert lane.parked == set()
    assert not backlog.is_wanting(DESTINATION)


@pytest.mark.parametrize("was_parked", [False, True])
async def test_what_is_parked_during_a_read_that_left_it_out_stays_parked(was_parked: bool) -> None:
    lane = a_lane()
    if was_parked:
        lane.parked_at(DESTINATION)
    await after_a_read(lane, lambda: lane.parked_at(DESTINATION))
    # Else nobody would look for it when the next hop is back.
    assert lane.parked == {DESTINATION}
