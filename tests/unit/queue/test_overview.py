"""What people see of the queue, and how an operator ends what waits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.doors.cli.queuetext import status_document
from sekisho.queue import overview
from sekisho.queue.local import LocalSpool
from sekisho.queue.model import Deferred
from sekisho.queue.operator import Operator
from sekisho.queue.overview import DestinationStatus
from sekisho.queue.selection import Selection
from sekisho.queue.spool import RATE_OF, OpenHop, Settlement, ShutHop
from sekisho.queue.watch import ChangeKind, SpoolChange

from .conftest import OpenSpool
from .support import NOW_MS, FakeClock, accepted, due, encode, make, rows

ALL = Selection()
SHUT = ShutHop("mx.example", NOW_MS + 90_000, "4.4.1 no answer", "4.4.1", ("a.example", "b.example"))


@pytest.fixture
def open_operator(tmp_path: Path, clock: FakeClock) -> Callable[[], Operator]:
    return lambda: Operator(tmp_path / "spool", clock=clock, encode=encode)


OpenOperator = Callable[[], Operator]


async def noted(spool: LocalSpool, *states: ShutHop | OpenHop) -> None:
    """Have these written down: whatever is appended behind them is committed behind them."""
    for state in states:
        spool.note(state)
    await spool.append(make(dropped_reason="x"))


async def fault(spool: LocalSpool, address: str, *, faults: int, is_set_aside: bool) -> None:
    (delivery,) = accepted(await spool.append(make(address)))
    outcome = Deferred("4.3.0 internal error", NOW_MS, "4.3.0", faults=faults, is_set_aside=is_set_aside)
    assert await spool.settle(Settlement(delivery, outcome, NOW_MS))


async def test_status_tells_all_of_a_destination(
    open_spool: OpenSpool, open_operator: OpenOperator, clock: FakeClock
) -> None:
    spool, other = open_spool(), open_spool()
    clock.time_ms = NOW_MS - 10
    first, _ = accepted(await spool.append(make("a@d.example", "b@d.example", body=b"1234")))
    clock.time_ms = NOW_MS
    (second,) = accepted(await other.append(make("c@d.example", body=b"123456")))
    await fault(spool, "e@d.example", faults=5, is_set_aside=True)
    await spool.settle(Settlement(first, Deferred("451 first", NOW_MS + 5), NOW_MS + 1))
    await other.settle(Settlement(second, Deferred("451 second", NOW_MS + 3), NOW_MS + 2))
    with open_operator() as operator:
        operator.hold(Selection(first.message.id, 1))
        (found,) = operator.status()
    size_bytes = 2 * first.message.size_bytes + second.message.size_bytes + make().message.size_bytes
    assert found == DestinationStatus("d.example", 4, size_bytes, 1, 1, NOW_MS - 10, NOW_MS + 3, None, "451 second")


async def test_what_waits_for_a_next_hop_says_so(open_spool: OpenSpool, open_operator: OpenOperator) -> None:
    spool = open_spool()
    await spool.append(make("x@a.example", "x@b.example", "x@c.example"))
    await noted(spool, SHUT)
    with open_operator() as operator:
        told = {each.destination: (each.next_ms, each.shut) for each in operator.status()}
    shut = ShutHop("mx.example", NOW_MS + 90_000, "4.4.1 no answer", "4.4.1")
    assert told == {
        "a.example": (NOW_MS + 90_000, shut),
        "b.example": (NOW_MS + 90_000, shut),
        "c.example": (NOW_MS, None),
    }
    assert await spool.shut_hops() == (shut,)


async def test_what_waits_for_its_rate_says_so_and_has_nothing_to_retry(
    open_spool: OpenSpool, open_operator: OpenOperator
) -> None:
    spool = open_spool()
    await spool.append(make("x@a.example"))
    await noted(spool, replace(SHUT, hop=f"{RATE_OF}mx.example"))
    with open_operator() as operator:
        assert operator.retry(ALL) == 0
        (found,) = operator.status()
    assert found.shut is not None
    assert found.shut.is_rate
    assert "rate of mx.example is used up" in str(status_document(found, NOW_MS)["why"])


async def test_a_next_hop_is_noted_anew_and_forgotten(open_spool: OpenSpool, clock: FakeClock, tmp_path: Path) -> None:
    spool = open_spool()
    await noted(spool, SHUT, ShutHop("mx.example", NOW_MS + 1, "other", "", ("c.example",)))
    assert await spool.shut_hops() == (ShutHop("mx.example", NOW_MS + 1, "other", ""),)
    assert rows(tmp_path / "spool", "SELECT destination FROM shut_destination") == [
        "a.example", "b.example", "c.example",
    ]  # fmt: skip
    await noted(spool, OpenHop("mx.example"), OpenHop("never heard of"))
    assert await spool.shut_hops() == ()
    assert rows(tmp_path / "spool", "SELECT * FROM shut_destination") == []
    # A worker that died says nothing more: what it noted is not kept for ever.
    await noted(spool, SHUT)
    clock.time_ms += 2 * 86_400_000
    await noted(spool, ShutHop("other.example", clock.time_ms, "x", "", ("d.example",)))
    assert [each.hop for each in await spool.shut_hops()] == ["other.example"]
    assert rows(tmp_path / "spool", "SELECT destination FROM shut_destination") == ["d.example"]


async def test_a_retry_is_for_next_hops_too(open_spool: OpenSpool, open_operator: OpenOperator) -> None:
    told: asyncio.Queue[SpoolChange] = asyncio.Queue()
    spool = open_spool(on_change=told.put_nowait)
    await spool.destinations("", 9)
    (waiting,) = accepted(await spool.append(make("x@a.example")))
    await spool.append(make("x@c.example"))
    await noted(spool, SHUT)
    with open_operator() as operator:
        # It is due already, and only its next hop keeps it back; the other one waits for nothing.
        assert operator.retry(ALL) == 1
        assert operator.retry(ALL) == 0
    assert await told.get() == SpoolChange(ChangeKind.DUE, (waiting.row,), ("a.example",))
    assert await spool.shut_hops() == ()


async def test_what_was_set_aside_waits_for_a_release(open_spool: OpenSpool, open_operator: OpenOperator) -> None:
    spool = open_spool()
    await fault(spool, "a@d.example", faults=5, is_set_aside=True)
    await fault(spool, "b@d.example", faults=4, is_set_aside=False)
    (found,) = await due(spool, "d.example", NOW_MS, 9)
    assert (found.recipient.address, found.faults) == ("b@d.example", 4)
    with open_operator() as operator:
        assert [each.held for each in operator.list(ALL, 9)] == [2, 0]
        assert operator.hold(ALL) == 1
        assert operator.release(ALL) == 2
    assert [(each.recipient.address, each.faults) for each in await due(spool, "d.example", NOW_MS, 9)] == [
        ("a@d.example", 0),
        ("b@d.example", 0),
    ]


@pytest.mark.parametrize("statement", [overview._SUMS, overview._LAST])
async def test_sums_read_the_index_alone(open_spool: OpenSpool, tmp_path: Path, statement: str) -> None:
    await open_spool().close()
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as connection:
        plan = [step[3] for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    # The clock is one row, read once.
    assert [step for step in plan if "delivery" in step] == ["SCAN delivery USING COVERING INDEX delivery_due"]
