"""Messages that come back from the disk as others than were written: set aside, told, and never handed out."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest
import structlog

from sekisho.queue import recovery
from sekisho.queue.layout import Layout
from sekisho.queue.local import DAMAGED
from sekisho.queue.model import BodyFile, Deferred
from sekisho.queue.operator import Operator
from sekisho.queue.selection import Selection
from sekisho.queue.spool import Settlement
from sekisho.queue.transaction import SET_ASIDE

from .conftest import OpenSpool
from .support import NOW_MS, FakeClock, accepted, due, encode, large_body, make, rows


def damage(directory: Path, column: str = "body", number: int = 1) -> None:
    """Flip one bit as a disk does, behind SQLite's back as far as the spool can tell."""
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        (blob,) = connection.execute(f"SELECT {column} FROM message WHERE row = ?", (number,)).fetchone()  # noqa: S608
        damaged = bytes([blob[0] ^ 1]) + blob[1:]
        connection.execute(f"UPDATE message SET {column} = ? WHERE row = ?", (damaged, number))  # noqa: S608
        connection.commit()


@pytest.mark.parametrize("column", ["body", "header"])
async def test_a_damaged_message_is_set_aside_and_the_others_are_read(
    open_spool: OpenSpool, tmp_path: Path, clock: FakeClock, column: str
) -> None:
    directory = tmp_path / "spool"
    spool = open_spool()
    addresses = ("a@d.example", "b@d.example", "c@other.example")
    accepted(await spool.append(make(*addresses)))
    accepted(await spool.append(make("good@d.example")))
    damage(directory, column)
    with structlog.testing.capture_logs() as logs:
        read = [[each.recipient.address for each in await due(spool, "d.example", NOW_MS, 10)] for _ in range(3)]
        assert read == [["good@d.example"]] * 3
        # Once, however often it is read until that is written down.
        assert [(each["event"], each["deliveries"]) for each in logs] == [("spool.message_damaged", 2)]
    # An outcome follows in the same order: what was put before it is written.
    (good,) = await due(spool, "d.example", NOW_MS, 10)
    assert await spool.settle(Settlement(good, Deferred("451", NOW_MS + 1), NOW_MS))
    assert rows(directory, "SELECT held, reply, status, attempts FROM delivery WHERE row < 2 << 20") == [
        (SET_ASIDE, DAMAGED, "4.3.0", 0),
        (SET_ASIDE, DAMAGED, "4.3.0", 0),
        (0, None, None, 0),
    ]
    assert [each.destination for each in await spool.destinations("", 10)] == ["d.example", "other.example"]
    with Operator(directory, clock=clock, encode=encode) as operator:
        shown = operator.list(Selection(domain="d.example"), 10)
        assert [each.reply for each in shown if each.held == SET_ASIDE] == [DAMAGED] * 2
        # Released it is looked at again: the bytes may be the right ones now.
        assert operator.release(Selection()) == 2
    assert await due(spool, "d.example", NOW_MS, 10) == ()
    damage(directory, column)
    assert len(await due(spool, "other.example", NOW_MS, 10)) == 1


async def test_what_is_in_memory_is_settled_though_its_stored_copy_is_damaged(
    open_spool: OpenSpool, tmp_path: Path
) -> None:
    spool = open_spool()
    one, other = accepted(await spool.append(make("a@d.example", "b@d.example")))
    damage(tmp_path / "spool")
    assert await due(spool, "d.example", NOW_MS, 10, {one.row}) == ()
    assert await spool.settle(Settlement(one, Deferred("451 later", NOW_MS + 1, "4.0.0"), NOW_MS))
    assert rows(tmp_path / "spool", "SELECT held, reply FROM delivery WHERE row = ?", one.row) == [(0, "451 later")]
    assert rows(tmp_path / "spool", "SELECT held FROM delivery WHERE row = ?", other.row) == [SET_ASIDE]


async def test_a_message_without_a_checksum_is_not_checked(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    accepted(await spool.append(make()))
    damage(tmp_path / "spool")
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as connection, connection:
        connection.execute("UPDATE message SET checksum = NULL")
    assert len(await due(spool, "dest.example", NOW_MS, 10)) == 1


async def test_salvage_keeps_what_is_damaged_with_its_checksum(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    accepted(await spool.append(make("a@d.example")))
    accepted(await spool.append(make("b@d.example")))
    await spool.close()
    damage(tmp_path / "spool")
    layout = Layout(tmp_path / "spool")
    layout.suspect.write_text("found in operation\n")
    lock, report = recovery.enter(layout, NOW_MS)
    lock.close()
    assert report.recovered is not None
    assert report.recovered.salvaged.deliveries == 2
    spool = open_spool()
    assert [each.recipient.address for each in await due(spool, "d.example", NOW_MS, 10)] == ["b@d.example"]


async def test_the_checksum_of_a_body_file_comes_back_with_it(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    new = large_body(spool.incoming, spool.body_path)
    kept = new["body"]
    new["body"] = BodyFile(kept.path, kept.size_bytes, crc32(b"large\r\n" * 1000))
    await asyncio.wait_for(spool.append(make(**new)), 30)
    (found,) = await due(spool, "dest.example", NOW_MS, 10)
    assert found.message.body == new["body"]
    assert rows(tmp_path / "spool", "SELECT checksum IS NULL, length(body) FROM message") == [(0, 0)]
