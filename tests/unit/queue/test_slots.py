from __future__ import annotations

import asyncio
from pathlib import Path

from sekisho.queue.layout import Layout
from sekisho.queue.model import Delivered
from sekisho.queue.slots import Slots
from sekisho.queue.spool import Settlement
from sekisho.queue.watch import ChangeKind, SpoolChange

from .conftest import OpenSpool
from .support import NOW_MS, FakeClock, accepted, due, make, rows


def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path)
    found.create()
    return found


def test_each_worker_has_a_slot_of_its_own(tmp_path: Path) -> None:
    place = layout(tmp_path)
    first, second = Slots(place), Slots(place)
    assert (first.first, second.first) == (1, 2)
    assert second.adopt((0, 1, 2)) == ()
    first.close()
    # What lives is taken by nobody, what is dead by one only; slot 0 belongs to nobody ever.
    third = Slots(place)
    assert third.first == 1
    assert second.adopt((0, 1)) == ()
    third.close()
    assert second.adopt((0, 1, 7)) == (1, 7)
    assert second.owned == (2, 1, 7)
    second.close()


def test_empty_adopted_slots_are_given_back(tmp_path: Path) -> None:
    place = layout(tmp_path)
    slots = Slots(place)
    slots.adopt((2, 3))
    slots.release_except((3,))
    assert slots.owned == (1, 3)
    other = Slots(place)
    assert other.first == 2
    other.close()
    slots.close()


async def test_a_dead_workers_deliveries_are_adopted(open_spool: OpenSpool, clock: FakeClock, tmp_path: Path) -> None:
    adopted = asyncio.Event()
    dying, living = open_spool(), open_spool(on_adopted=adopted.set)
    (theirs,) = accepted(await dying.append(make()))
    (ours,) = accepted(await living.append(make()))
    assert [each.row for each in await due(living, "dest.example", NOW_MS, 9)] == [ours.row]
    await dying.close()
    clock.time_ms += 1000
    await adopted.wait()
    found = await due(living, "dest.example", NOW_MS, 9)
    assert sorted(each.row for each in found) == [theirs.row, ours.row]
    assert [each.destination for each in await living.destinations("", 99)] == ["dest.example"]
    # No row was rewritten: it is the lock that changed hands.
    assert rows(tmp_path / "spool", "SELECT owner FROM delivery ORDER BY row") == [1, 2]


async def test_fewer_workers_after_a_restart_strand_nothing(open_spool: OpenSpool) -> None:
    workers = [open_spool() for _ in range(4)]
    for worker in workers:
        accepted(await worker.append(make()))
    for worker in workers:
        await worker.close()
    adopted = asyncio.Event()
    alone = open_spool(on_adopted=adopted.set)
    await adopted.wait()
    assert len(await due(alone, "dest.example", NOW_MS, 9)) == 4


async def test_what_nobody_owns_is_claimed(open_spool: OpenSpool) -> None:
    told: asyncio.Queue[SpoolChange] = asyncio.Queue()
    worker = open_spool(on_change=told.put_nowait)
    await worker.destinations("", 99)
    api = open_spool(with_slot=False)
    (delivery,) = accepted(await api.append(make()))
    assert await api.destinations("", 99) == ()
    change = await told.get()
    assert change == SpoolChange(ChangeKind.ADDED, (delivery.row,), ("dest.example",))
    (found,) = await due(worker, "dest.example", NOW_MS, 9)
    assert await worker.settle(Settlement(found, Delivered("250"), NOW_MS))


async def test_what_nobody_owns_is_claimed_by_one_of_several(open_spool: OpenSpool, tmp_path: Path) -> None:
    api = open_spool(with_slot=False)
    await api.append(make(*(f"r{index}@d.example" for index in range(1700))))
    told: asyncio.Queue[SpoolChange] = asyncio.Queue()
    for _ in range(2):
        open_spool(on_change=told.put_nowait)
    claimed: list[int] = []
    while len(claimed) < 1700:
        claimed += (await told.get()).rows
    assert len(set(claimed)) == len(claimed) == 1700
    assert rows(tmp_path / "spool", "SELECT count(*) FROM delivery WHERE owner = 0") == [0]
