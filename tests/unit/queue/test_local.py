from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from sekisho.ids import AccountId, KeyId
from sekisho.queue import recovery
from sekisho.queue.layout import Layout
from sekisho.queue.local import LocalSpool
from sekisho.queue.model import BodyFile, Bounced, BounceType, Deferred, Delivered, Message, NewMessage, Recipient
from sekisho.queue.spool import DestinationDue, HeldSenders, Settlement, Wanted
from sekisho.queue.transaction import Operation
from sekisho.queue.writer import Answer, WriterStoppedError
from sekisho.refusal import Reason, Refused

from .conftest import OpenSpool
from .support import NOBODY, NOW_MS, FakeClock, accepted, due, encode, events, large_body, make, make_message, rows

pytestmark = pytest.mark.timeout(60)

OK = Delivered("250 2.0.0 Ok")


def _tell(loop: asyncio.AbstractEventLoop, heard: asyncio.Queue[Sequence[Operation]]) -> Answer:
    def answer(batch: Sequence[Operation]) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, batch)

    return answer


def fields(message: Message) -> dict[str, object]:
    return {name: getattr(message, name) for name in Message.__slots__}


async def test_a_message_is_stored_and_read_back_as_it_was(open_spool: OpenSpool) -> None:
    spool = open_spool()
    new = NewMessage(
        make_message(
            subuser_id=AccountId(5),
            mail_from="",
            header="Subject: Grüße\r\n".encode(),
            body=b"\x00\xff\r\n" * 3000,
            eight_bit=True,
            categories=("a", "b"),
            category_is_list=True,
            unique_args=(("k", "v"), ("ü", "")),
        ),
        (Recipient(0, '"x y"@dest.example', '"X" <x@dest.example>'), Recipient(1, "b@dest.example")),
    )
    made = accepted(await spool.append(new))
    assert [(each.recipient, each.attempts, each.due_ms, each.message) for each in made] == [
        (new.recipients[0], 0, NOW_MS, new.message),
        (new.recipients[1], 0, NOW_MS, new.message),
    ]
    found = await due(spool, "dest.example", NOW_MS, 10)
    assert [(each.row, each.recipient, each.attempts, each.due_ms) for each in found] == [
        (each.row, each.recipient, each.attempts, each.due_ms) for each in made
    ]
    assert found[0].message is found[1].message
    assert fields(found[0].message) == fields(new.message)


async def test_each_final_outcome_takes_its_row_and_the_last_one_the_message(
    open_spool: OpenSpool, tmp_path: Path
) -> None:
    spool = open_spool()
    first, second = accepted(await spool.append(make("a@one.example", "b@two.example")))
    assert await spool.settle(Settlement(first, OK, NOW_MS))
    assert rows(tmp_path / "spool", "SELECT row FROM delivery") == [second.row]
    assert rows(tmp_path / "spool", "SELECT count(*) FROM message") == [1]
    assert await spool.settle(Settlement(second, Bounced("550 no", BounceType.BOUNCE), NOW_MS))
    assert rows(tmp_path / "spool", "SELECT count(*) FROM message") == [0]
    assert events(tmp_path / "spool") == ["delivered a@one.example 0", "bounced b@two.example 0"]


async def test_a_deferral_is_kept_with_its_reply_and_comes_back_when_due(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make()))
    later = Deferred("451 4.3.0 try later", NOW_MS + 60_000, "4.3.0")
    assert await spool.settle(Settlement(delivery, later, NOW_MS + 5))
    assert await due(spool, "dest.example", NOW_MS + 59_999, 10) == ()
    (again,) = await due(spool, "dest.example", NOW_MS + 60_000, 10)
    assert (again.row, again.attempts, again.due_ms) == (delivery.row, 1, NOW_MS + 60_000)
    assert rows(tmp_path / "spool", "SELECT reply, status, tried_ms FROM delivery") == [
        ("451 4.3.0 try later", "4.3.0", NOW_MS + 5)
    ]
    assert await spool.settle(Settlement(again, OK, NOW_MS + 60_001))
    assert events(tmp_path / "spool") == ["deferred a@dest.example 0", "delivered a@dest.example 1"]


async def test_settling_names_the_state_it_expects(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make()))
    assert await spool.settle(Settlement(delivery, Deferred("4", NOW_MS + 1), NOW_MS))
    # The same attempt cannot end twice, and what is gone cannot end at all: no event either.
    assert not await spool.settle(Settlement(delivery, OK, NOW_MS))
    assert not await spool.settle(Settlement(delivery, Deferred("4", NOW_MS + 1), NOW_MS))
    (again,) = await due(spool, "dest.example", NOW_MS + 1, 10)
    assert await spool.settle(Settlement(again, OK, NOW_MS))
    assert not await spool.settle(Settlement(again, OK, NOW_MS))
    assert events(tmp_path / "spool") == ["deferred a@dest.example 0", "delivered a@dest.example 1"]


async def test_numbers_are_never_used_again(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    seen = set()
    for _ in range(3):
        (delivery,) = accepted(await spool.append(make()))
        assert delivery.row not in seen
        seen.add(delivery.row)
        await spool.settle(Settlement(delivery, OK, NOW_MS))
    assert rows(tmp_path / "spool", "SELECT seq FROM outbox") == [1, 2, 3]


async def test_a_message_dropped_at_acceptance_leaves_only_events(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    arguments = large_body(spool.incoming, spool.body_path)
    for extra in ({}, arguments):
        assert await spool.append(make("a@x.example", "b@x.example", dropped_reason="Invalid", **extra)) == ()
    assert events(tmp_path / "spool") == ["dropped a@x.example 0 Invalid", "dropped b@x.example 0 Invalid"] * 2
    assert rows(tmp_path / "spool", "SELECT count(*) FROM message") == [0]
    assert await spool.destinations("", 99) == ()
    assert list(spool.incoming.iterdir()) == []
    assert not arguments["body"].path.exists()


async def test_a_large_body_is_moved_in_place_and_goes_with_the_message(open_spool: OpenSpool) -> None:
    spool = open_spool()
    arguments = large_body(spool.incoming, spool.body_path)
    accepted(await spool.append(make(**arguments)))
    assert not arguments["temporary_file"].exists()
    (found,) = await due(spool, "dest.example", NOW_MS, 1)
    assert found.message.body == arguments["body"]
    assert isinstance(found.message.body, BodyFile)
    assert found.message.body.path.read_bytes() == b"large\r\n" * 1000
    assert await spool.settle(Settlement(found, OK, NOW_MS))
    await spool.close()
    assert not arguments["body"].path.exists()


async def test_a_large_body_that_cannot_be_kept_is_refused(open_spool: OpenSpool) -> None:
    spool = open_spool()
    arguments = large_body(spool.incoming, spool.body_path)
    arguments["temporary_file"].unlink()
    assert await spool.append(make(**arguments)) == Refused(Reason.STORAGE_UNAVAILABLE)


async def test_mistakes_of_the_caller_are_raised_at_once(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    stranger = BodyFile(tmp_path / "elsewhere", 1)
    for new in (
        make(body=stranger),
        make(temporary_file=tmp_path / "elsewhere"),
        make(body=stranger, temporary_file=tmp_path / "elsewhere"),
    ):
        with pytest.raises(ValueError, match="body"):
            spool.append(new)


async def test_what_sqlite_does_not_take_fails_alone(open_spool: OpenSpool) -> None:
    spool = open_spool()
    futures = [spool.append(make(f"{name}@dest.example")) for name in ("a", "\udcff", "c")]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(answers[1], UnicodeEncodeError)
    assert [type(answer) for answer in answers] == [tuple, UnicodeEncodeError, tuple]
    assert await spool.destinations("", 99) == (DestinationDue("dest.example", NOW_MS),)


async def test_destinations_and_due_are_per_destination_oldest_first(open_spool: OpenSpool, clock: FakeClock) -> None:
    spool = open_spool()
    ages = {"old": 3, "new": 1, "middle": 2}
    for name, age in ages.items():
        clock.time_ms = NOW_MS - age
        await spool.append(make(f"{name}@one.example"))
    clock.time_ms = NOW_MS
    await spool.append(make("x@two.example"))
    assert sorted(await spool.destinations("", 99), key=lambda each: each.destination) == [
        DestinationDue("one.example", NOW_MS - 3),
        DestinationDue("two.example", NOW_MS),
    ]
    found = await due(spool, "one.example", NOW_MS, 2)
    assert [each.recipient.address for each in found] == ["old@one.example", "middle@one.example"]
    rest = await due(spool, "one.example", NOW_MS, 2, {each.row for each in found})
    assert [each.recipient.address for each in rest] == ["new@one.example"]


async def test_held_senders_are_left_out(open_spool: OpenSpool) -> None:
    spool = open_spool()
    await spool.append(make("a@d.example", account_id=AccountId(1), key_id=KeyId("k1")))
    await spool.append(make("b@d.example", account_id=AccountId(1), subuser_id=AccountId(2), key_id=KeyId("k2")))
    await spool.append(make("c@d.example", account_id=AccountId(3), key_id=KeyId("k3")))

    async def left(held: HeldSenders) -> list[str]:
        return [each.recipient.address[0] for each in await due(spool, "d.example", NOW_MS, 9, held=held)]

    assert await left(HeldSenders(senders=frozenset({1}))) == ["b", "c"]
    assert await left(HeldSenders(senders=frozenset({1, 2}))) == ["c"]
    assert await left(HeldSenders(keys=frozenset({"k3"}))) == ["a", "b"]
    assert await left(HeldSenders(senders=frozenset({1}), keys=frozenset({"k3"}))) == ["b"]


async def test_a_read_hands_out_nothing_that_was_settled_meanwhile(open_spool: OpenSpool) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make()))
    (other,) = accepted(await spool.append(make()))
    # Settled after the call, whatever the reader's thread sees: the scheduler no longer knows the row.
    reading = asyncio.ensure_future(due(spool, "dest.example", NOW_MS + 10, 10))
    settling = spool.settle(Settlement(delivery, Deferred("4", NOW_MS + 1), NOW_MS))
    await settling
    assert [each.row for each in await reading] == [other.row]


async def test_a_read_hands_out_nothing_that_is_being_settled(open_spool: OpenSpool) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make()))
    settling = spool.settle(Settlement(delivery, Deferred("4", NOW_MS), NOW_MS))
    assert await due(spool, "dest.example", NOW_MS, 10) == ()
    await settling


async def test_a_read_hands_out_nothing_that_append_is_about_to(open_spool: OpenSpool) -> None:
    spool = open_spool()
    # The commit is done and the reader sees it, but the loop has not been told yet.
    unheard: asyncio.Queue[Sequence[Operation]] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    spool._writer._answer = _tell(loop, unheard)
    appending = spool.append(make())
    batch = await unheard.get()
    assert await due(spool, "dest.example", NOW_MS, 10) == ()
    spool._resolve(batch)
    (delivery,) = accepted(await appending)
    (found,) = await due(spool, "dest.example", NOW_MS, 10)
    assert found.row == delivery.row


async def test_what_stands_behind_settled_ones_is_told_to_be_there(open_spool: OpenSpool) -> None:
    spool = open_spool()
    first, second = accepted(await spool.append(make("a@d.example", "b@d.example")))
    settling = spool.settle(Settlement(first, Deferred("4", NOW_MS), NOW_MS))
    (found,) = await spool.due([Wanted("d.example", 1)], NOW_MS, 1, NOBODY)
    assert (found.deliveries, found.has_more) == ((), True)
    await settling
    assert [each.row for each in await due(spool, "d.example", NOW_MS, 1, {first.row})] == [second.row]


async def test_everything_is_there_after_reopening(open_spool: OpenSpool, clock: FakeClock) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make()))
    meta = spool.meta
    await spool.close()
    with pytest.raises(WriterStoppedError):
        spool.append(make())
    again = open_spool()
    assert again.meta == meta
    assert not again.report.created
    (found,) = await due(again, "dest.example", clock.now_ms(), 10)
    assert found.row == delivery.row


async def test_close_commits_what_was_handed_over(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    futures = [spool.append(make()) for _ in range(50)]
    await spool.close()
    for future in futures:
        accepted(await future)
    assert rows(tmp_path / "spool", "SELECT count(*) FROM delivery") == [50]


async def test_what_was_never_started_can_be_closed(tmp_path: Path, clock: FakeClock) -> None:
    await LocalSpool(tmp_path, encode=encode, clock=clock).close()
    assert recovery.enter(Layout(tmp_path), NOW_MS, wait_s=0)[0].try_exclusive()


async def test_a_cancelled_append_is_told_to_the_scheduler(open_spool: OpenSpool, tmp_path: Path) -> None:
    told: asyncio.Queue[object] = asyncio.Queue()
    spool = open_spool(on_change=told.put_nowait)
    spool.append(make()).cancel()
    change = await told.get()
    assert getattr(change, "destinations", None) == ("dest.example",)
    assert rows(tmp_path / "spool", "SELECT row FROM delivery") == list(getattr(change, "rows", ()))
