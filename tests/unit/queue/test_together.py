"""Messages of one request: on disk all or none, counted at once; and the bell that tells of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from sekisho.ids import KeyId, message_id_of
from sekisho.queue import bodies
from sekisho.queue.model import BodyFile, Bounced, BounceType, Caps, NewMessage
from sekisho.queue.spool import Settlement
from sekisho.queue.wake import Bell
from sekisho.queue.watch import ChangeKind, SpoolChange
from sekisho.refusal import Reason, Refused

from .conftest import OpenSpool
from .support import NOW_MS, accepted, make, rows

KEY = KeyId("key-1")


def request(*addresses: str, caps: Caps | None = None) -> tuple[NewMessage, ...]:
    """One message to each address, numbered as those of a request are."""
    first = make(caps=caps)
    return tuple(
        make(address, id=message_id_of(first.message.id, part), caps=caps) for part, address in enumerate(addresses)
    )


async def test_all_are_queued_in_one_step(open_spool: OpenSpool, tmp_path: Path) -> None:
    deliveries = accepted(await open_spool().append(*request("a@d.example", "b@d.example", "c@e.example")))

    assert [each.recipient.address for each in deliveries] == ["a@d.example", "b@d.example", "c@e.example"]
    assert rows(tmp_path / "spool", "SELECT count(*) FROM message") == [3]


async def test_they_are_counted_at_once_or_not_at_all(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool, caps = open_spool(), Caps(KEY, daily=3)

    refused = await spool.append(*request("a@d.example", "b@d.example", "c@d.example", "d@d.example", caps=caps))
    taken = await spool.append(*request("a@d.example", "b@d.example", "c@d.example", caps=caps))

    assert isinstance(refused, Refused)
    assert refused.reason is Reason.DAILY_EXCEEDED
    assert len(accepted(taken)) == 3
    assert rows(tmp_path / "spool", "SELECT count FROM daily") == [3]


async def test_a_large_body_is_one_file_under_a_name_for_each(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    written = bodies.write(spool.incoming / "x", b"large\r\n" * 1000)
    news = tuple(
        replace(
            new,
            message=replace(
                new.message, body=BodyFile(spool.body_path(new.message.id), written.size_bytes, written.checksum)
            ),
            temporary_file=written.path,
        )
        for new in request("a@d.example", "b@d.example")
    )

    first, second = accepted(await spool.append(*news))

    assert [path.stat().st_nlink for path in (tmp_path / "spool" / "bodies").iterdir()] == [2, 2]
    await spool.settle(Settlement(first, Bounced("550 no", BounceType.BOUNCE), NOW_MS))
    body = second.message.body
    assert isinstance(body, BodyFile)
    await spool.close()
    assert [path.name for path in (tmp_path / "spool" / "bodies").iterdir()] == [body.path.name]
    with bodies.reading(body) as reading:
        assert reading.read(1 << 20) == b"large\r\n" * 1000


async def test_whoever_delivers_hears_the_bell(open_spool: OpenSpool) -> None:
    loop, bell = asyncio.get_running_loop(), Bell.make()
    heard: asyncio.Future[SpoolChange] = loop.create_future()
    spool = open_spool(on_change=heard.set_result, bell=bell)
    # Without the regular look: it stays in its thread, at a question that ends when the bell was heard.
    looking = spool._reader.ask(lambda _: asyncio.run_coroutine_threadsafe(_wait(heard), loop).result(10))

    await open_spool(with_slot=False, bell=bell).append(*request("a@d.example", "b@e.example"))
    change = await asyncio.wait_for(asyncio.shield(heard), 10)

    assert change.kind is ChangeKind.ADDED
    assert set(change.destinations) == {"d.example", "e.example"}
    await looking
    await spool.close()
    bell.close()


async def _wait(heard: asyncio.Future[SpoolChange]) -> None:
    await asyncio.shield(heard)


async def test_a_bell_that_nobody_hears_is_rung_for_nothing() -> None:
    loop, bell = asyncio.get_running_loop(), Bell.make()
    for _ in range(100_000):
        bell.ring()

    heard = asyncio.Event()
    bell.listen(loop, heard.set)

    await asyncio.wait_for(heard.wait(), 10)
    bell.stop_listening(loop)
    bell.close()
