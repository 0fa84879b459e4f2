from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.ids import AccountId, KeyId, message_id_text
from sekisho.queue.model import Deferred, Delivered, Delivery
from sekisho.queue.operator import Operator
from sekisho.queue.selection import Selection, parse_id
from sekisho.queue.spool import DestinationDue, Settlement
from sekisho.queue.watch import ChangeKind, SpoolChange

from .conftest import OpenSpool
from .support import NOW_MS, FakeClock, accepted, due, encode, events, large_body, make, rows

LATER = Deferred("451 4.3.0 later", NOW_MS + 60_000, "4.3.0")
ALL = Selection()


@pytest.fixture
def open_operator(tmp_path: Path, clock: FakeClock) -> Callable[[], Operator]:
    return lambda: Operator(tmp_path / "spool", clock=clock, encode=encode)


OpenOperator = Callable[[], Operator]


def ids(delivery: Delivery) -> str:
    return message_id_text(delivery.message.id)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AZ8s", None),
        ("", None),
        ("A" * 22, (b"\0" * 16, None)),
        ("A" * 22 + ".0", (b"\0" * 16, 0)),
        ("A" * 22 + ".12", (b"\0" * 16, 12)),
        ("A" * 22 + ".", None),
        ("A" * 22 + ".x", None),
        ("A" * 22 + ".-1", None),
        ("A" * 22 + ".1048576", None),
        ("A" * 22 + ".99999999999999999999999", None),
        ("A" * 22 + ".1.2", None),
        ("A" * 22 + ".²", None),
    ],
)
def test_parse_id(text: str, expected: tuple[bytes, int | None] | None) -> None:
    assert parse_id(text) == expected


def test_a_spool_that_never_was_is_empty(open_operator: OpenOperator) -> None:
    with open_operator() as operator:
        assert operator.report.created
        assert operator.status() == ()
        assert operator.list(ALL, 10) == ()
        assert operator.hold(ALL) == 0


async def test_status_sums_up_by_destination(
    open_spool: OpenSpool, open_operator: OpenOperator, clock: FakeClock
) -> None:
    spool = open_spool()
    clock.time_ms = NOW_MS - 10
    first, _second = accepted(await spool.append(make("a@one.example", "b@one.example")))
    clock.time_ms = NOW_MS
    accepted(await spool.append(make("c@two.example")))
    await spool.settle(Settlement(first, LATER, NOW_MS))
    with open_operator() as operator:
        operator.hold(Selection(domain="two.example"))
        one, two = operator.status()
    assert (one.destination, one.count, one.held, one.oldest_ms, one.next_ms, one.last_reply) == (
        "one.example", 2, 0, NOW_MS - 10, NOW_MS - 10, "451 4.3.0 later",
    )  # fmt: skip
    assert (two.destination, two.count, two.held, two.oldest_ms, two.next_ms, two.last_reply) == (
        "two.example", 1, 1, NOW_MS, None, None,
    )  # fmt: skip


async def test_show_and_list(open_spool: OpenSpool, open_operator: OpenOperator) -> None:
    spool = open_spool()
    first, second = accepted(await spool.append(make("a@one.example", "b@two.example", body=b"12345")))
    await spool.settle(Settlement(first, LATER, NOW_MS + 3))
    with open_operator() as operator:
        shown = operator.show(first.message.id)
        assert shown is not None
        assert shown.message.mail_from == "sender@client.example"
        assert shown.size_bytes == first.message.size_bytes
        told = [
            (each.index, each.address, each.attempts, each.due_ms, each.reply, each.tried_ms)
            for each in shown.deliveries
        ]
        assert told == [
            (0, "a@one.example", 1, NOW_MS + 60_000, "451 4.3.0 later", NOW_MS + 3),
            (1, "b@two.example", 0, NOW_MS, None, None),
        ]
        assert [each.row for each in operator.list(ALL, 1)] == [first.row]
        assert [each.row for each in operator.list(Selection(second.message.id, 1), 9)] == [second.row]
        await spool.settle(Settlement(second, Delivered("250"), NOW_MS))
        assert operator.list(Selection(second.message.id, 1), 9) == ()
        assert operator.show(b"\0" * 16) is None  # type: ignore[arg-type]
        assert operator.list(Selection(b"\0" * 16), 9) == ()  # type: ignore[arg-type]


async def test_selections(open_spool: OpenSpool, open_operator: OpenOperator, clock: FakeClock) -> None:
    spool = open_spool()
    made = {}
    for name, changes in {
        "p": {"account_id": AccountId(1), "key_id": KeyId("k1")},
        "s": {"account_id": AccountId(1), "subuser_id": AccountId(2), "key_id": KeyId("k2")},
        "o": {"account_id": AccountId(3), "key_id": KeyId("k3")},
    }.items():
        clock.time_ms = NOW_MS - 5 * (name == "s")
        made[name] = accepted(await spool.append(make(f"{name}@d.example", **changes)))[0]  # type: ignore[arg-type]
    await spool.append(make("z@other.example", key_id=KeyId("k4"), account_id=AccountId(4)))
    with open_operator() as operator:

        def found(**conditions: object) -> str:
            return "".join(each.address[0] for each in operator.list(Selection(**conditions), 9))  # type: ignore[arg-type]

        assert found() == "psoz"
        assert found(key="k2") == "s"
        assert found(account=1) == "ps"
        assert found(subuser=2) == "s"
        assert found(domain="d.example") == "pso"
        assert found(accepted_before_ms=NOW_MS) == "s"
        assert found(account=1, key="k1") == "p"
        assert found(message_id=made["o"].message.id) == "o"
        assert found(message_id=made["o"].message.id, key="k1") == ""


async def test_hold_and_release_are_told_to_the_worker(open_spool: OpenSpool, open_operator: OpenOperator) -> None:
    told: asyncio.Queue[SpoolChange] = asyncio.Queue()
    spool = open_spool(on_change=told.put_nowait)
    await spool.destinations("", 99)
    (delivery,) = accepted(await spool.append(make()))
    accepted(await spool.append(make("b@else.example")))
    with open_operator() as operator:
        assert operator.hold(Selection(delivery.message.id)) == 1
        assert operator.hold(Selection(delivery.message.id)) == 0
        assert await told.get() == SpoolChange(ChangeKind.HELD, (delivery.row,), ("dest.example",))
        assert await due(spool, "dest.example", NOW_MS, 9) == ()
        assert await spool.destinations("", 99) == (DestinationDue("else.example", NOW_MS),)
        assert operator.release(ALL) == 1
        assert await told.get() == SpoolChange(ChangeKind.RELEASED, (delivery.row,), ("dest.example",))
        assert [each.row for each in await due(spool, "dest.example", NOW_MS, 9)] == [delivery.row]


async def test_what_is_held_while_attempted_can_be_settled(open_spool: OpenSpool, open_operator: OpenOperator) -> None:
    spool = open_spool()
    first, second = accepted(await spool.append(make("a@d.example", "b@d.example")))
    with open_operator() as operator:
        assert operator.hold(ALL) == 2
    assert await spool.settle(Settlement(first, LATER, NOW_MS))
    assert await spool.settle(Settlement(second, Delivered("250"), NOW_MS))
    assert await due(spool, "d.example", NOW_MS + 99_999, 9) == ()


async def test_retry_makes_due(open_spool: OpenSpool, open_operator: OpenOperator, clock: FakeClock) -> None:
    told: asyncio.Queue[SpoolChange] = asyncio.Queue()
    spool = open_spool(on_change=told.put_nowait)
    await spool.destinations("", 99)
    (delivery,) = accepted(await spool.append(make()))
    await spool.settle(Settlement(delivery, LATER, NOW_MS))
    clock.time_ms += 10
    with open_operator() as operator:
        assert operator.retry(ALL) == 1
        assert operator.retry(ALL) == 0
    assert await told.get() == SpoolChange(ChangeKind.DUE, (delivery.row,), ("dest.example",))
    (found,) = await due(spool, "dest.example", clock.now_ms(), 9)
    assert (found.row, found.due_ms, found.attempts) == (delivery.row, NOW_MS + 10, 1)


async def test_drop_ends_deliveries_with_an_event(
    open_spool: OpenSpool, open_operator: OpenOperator, tmp_path: Path
) -> None:
    told: asyncio.Queue[SpoolChange] = asyncio.Queue()
    spool = open_spool(on_change=told.put_nowait)
    await spool.destinations("", 99)
    arguments = large_body(spool.incoming, spool.body_path)
    first, second = accepted(await spool.append(make("a@d.example", "b@d.example", **arguments)))
    await spool.settle(Settlement(first, LATER, NOW_MS))
    with open_operator() as operator:
        assert operator.drop(Selection(first.message.id, 0)) == 1
        assert await told.get() == SpoolChange(ChangeKind.DROPPED, (first.row,), ("d.example",))
        assert arguments["body"].path.exists()
        assert operator.drop(ALL) == 1
    assert not arguments["body"].path.exists()
    assert rows(tmp_path / "spool", "SELECT count(*) FROM message") == [0]
    assert not await spool.settle(Settlement(second, Delivered("250"), NOW_MS))
    assert events(tmp_path / "spool") == [
        "deferred a@d.example 0",
        "dropped a@d.example 1 dropped by operator",
        "dropped b@d.example 0 dropped by operator",
    ]
    # The worker goes on counting where the operator stopped.
    await spool.append(make("c@d.example", dropped_reason="x"))
    assert rows(tmp_path / "spool", "SELECT seq FROM outbox") == [1, 2, 3, 4]


async def test_large_selections_are_changed_in_pieces(open_spool: OpenSpool, open_operator: OpenOperator) -> None:
    spool = open_spool()
    await spool.append(make(*(f"r{index}@d.example" for index in range(1203))))
    await spool.close()
    with open_operator() as operator:
        assert operator.hold(ALL) == 1203
        assert operator.release(ALL) == 1203
        assert operator.drop(ALL) == 1203
        assert operator.status() == ()


async def test_changes_are_forgotten_after_a_while(
    open_spool: OpenSpool, open_operator: OpenOperator, clock: FakeClock, tmp_path: Path
) -> None:
    spool = open_spool()
    await spool.append(make())
    with open_operator() as operator:
        operator.hold(ALL)
        clock.time_ms += 700_000
        operator.release(ALL)
    assert rows(tmp_path / "spool", "SELECT kind FROM change") == ["released"]
