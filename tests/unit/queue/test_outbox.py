from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sekisho.queue.model import Delivered
from sekisho.queue.outbox import OutboxReader
from sekisho.queue.spool import Settlement
from sekisho.queue.watch import SpoolSuspectError

from .conftest import OpenSpool
from .support import NOW_MS, accepted, make, rows


async def test_events_are_read_in_order_and_deleted_when_moved(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    with OutboxReader(tmp_path / "spool") as outbox:
        assert outbox.spool_id == str(spool.meta.spool)
        assert outbox.read_outbox(0, 10) == []
        for name in "abc":
            (delivery,) = accepted(await spool.append(make(f"{name}@d.example")))
            await spool.settle(Settlement(delivery, Delivered("250"), NOW_MS))
        assert outbox.read_outbox(0, 2) == [(1, b"delivered a@d.example 0"), (2, b"delivered b@d.example 0")]
        assert outbox.read_outbox(2, 2) == [(3, b"delivered c@d.example 0")]
        outbox.delete_outbox(2)
        assert outbox.read_outbox(0, 9) == [(3, b"delivered c@d.example 0")]
        outbox.delete_outbox(3)
        assert await spool.append(make("d@d.example", dropped_reason="x")) == ()
        assert outbox.read_outbox(0, 9) == [(4, b"dropped d@d.example 0 x")]
    assert rows(tmp_path / "spool", "SELECT seq FROM outbox") == [4]


def test_a_suspect_spool_is_not_read_on(tmp_path: Path) -> None:
    with OutboxReader(tmp_path) as outbox:
        (tmp_path / "spool.suspect").touch()
        with pytest.raises(SpoolSuspectError):
            outbox.read_outbox(0, 1)
        with pytest.raises(SpoolSuspectError):
            outbox.delete_outbox(1)
    with OutboxReader(tmp_path) as outbox:
        assert outbox.read_outbox(0, 1) == []


def test_storage_that_fails_under_it_is_marked(tmp_path: Path) -> None:
    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *_: Any) -> sqlite3.Cursor:
            error = sqlite3.OperationalError(sql)
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error

    with OutboxReader(tmp_path) as outbox:
        outbox._connection.close()
        outbox._connection = sqlite3.connect(":memory:", factory=Failing)
        with pytest.raises(sqlite3.OperationalError):
            outbox.delete_outbox(1)
        assert (tmp_path / "spool.suspect").exists()
