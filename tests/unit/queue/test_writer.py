from __future__ import annotations

import asyncio
import errno
import sqlite3
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sekisho.queue import local, schema
from sekisho.queue.faults import Fault, fault_of, is_quota
from sekisho.queue.locks import FileLock, LockTimeoutError
from sekisho.queue.model import Deferred, Delivered
from sekisho.queue.spool import Settlement
from sekisho.queue.writer import Writer, WriterStoppedError
from sekisho.refusal import Reason, Refused

from .conftest import OpenSpool
from .support import NOW_MS, accepted, events, large_body, make, rows

FULL = Refused(Reason.STORAGE_FULL)
OK = Delivered("250")


class Connection(sqlite3.Connection):
    """Raises what it is told to, at the statement that it is told."""

    failing: str = ""
    code: int = 0

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if self.failing and sql.startswith(self.failing):
            raise failure(self.code)
        return super().execute(sql, *arguments)


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"code {code}")
    error.sqlite_errorcode = code
    return error


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The writers' connections, in the order in which they are opened; writers are impatient here."""
    opened: list[Connection] = []
    connect = schema.connect

    def faulty(path: Path, *, read_only: bool = False, wal_pages: int = 0) -> sqlite3.Connection:
        if read_only:
            return connect(path, read_only=True)
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
            made = connect(path, wal_pages=wal_pages)
        assert isinstance(made, Connection)
        made.execute("PRAGMA busy_timeout=10")
        opened.append(made)
        return made

    monkeypatch.setattr(schema, "connect", faulty)
    monkeypatch.setattr(local, "Writer", partial(Writer, pause_s=0.05, lock_wait_s=0.05))
    return opened


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failure(sqlite3.SQLITE_FULL), Fault.FULL),
        (failure(sqlite3.SQLITE_IOERR_SHMSIZE), Fault.FULL),
        (failure(sqlite3.SQLITE_BUSY), Fault.UNAVAILABLE),
        (failure(sqlite3.SQLITE_BUSY_SNAPSHOT), Fault.UNAVAILABLE),
        (failure(sqlite3.SQLITE_READONLY), Fault.UNAVAILABLE),
        (LockTimeoutError(Path("write.lock")), Fault.UNAVAILABLE),
        (failure(sqlite3.SQLITE_IOERR_FSYNC), Fault.SUSPECT),
        (failure(sqlite3.SQLITE_IOERR_WRITE), Fault.SUSPECT),
        (failure(sqlite3.SQLITE_CORRUPT), Fault.SUSPECT),
        (failure(sqlite3.SQLITE_NOTADB), Fault.SUSPECT),
        (failure(sqlite3.SQLITE_CONSTRAINT_UNIQUE), Fault.OURS),
        (sqlite3.ProgrammingError("no code"), Fault.OURS),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates"), Fault.OURS),
    ],
)
def test_fault_of(error: Exception, expected: Fault) -> None:
    assert fault_of(error) is expected


async def fill(spool: local.LocalSpool, connection: Connection) -> None:
    """Take what the pages allowed still hold."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages + 10}")
    while not isinstance(await spool.append(make(body=bytes(5000))), Refused):
        pass


async def test_a_full_disk_refuses_and_recovers(open_spool: OpenSpool, writing: list[Connection]) -> None:
    spool = open_spool()
    await fill(spool, writing[-1])
    answers = await asyncio.gather(*(spool.append(make(body=bytes(5000))) for _ in range(3)))
    assert answers == [FULL] * 3
    writing[-1].execute("PRAGMA max_page_count=100000")
    accepted(await spool.append(make(body=bytes(5000))))


async def test_what_must_be_settled_waits_for_room(
    open_spool: OpenSpool, writing: list[Connection], tmp_path: Path
) -> None:
    spool = open_spool()
    (first,) = accepted(await spool.append(make()))
    connection = writing[-1]
    connection.code, connection.failing = sqlite3.SQLITE_FULL, "COMMIT"
    settling = [spool.settle(Settlement(first, Deferred("451", NOW_MS + 1), NOW_MS))]
    assert await asyncio.gather(*(spool.append(make()) for _ in range(3))) == [FULL] * 3
    # Some pauses long: tried again and again, not answered.
    done, _ = await asyncio.wait(settling, timeout=0.2)
    assert not done
    assert rows(tmp_path / "spool", "SELECT attempts FROM delivery") == [0]
    connection.failing = ""
    assert await settling[0]
    assert events(tmp_path / "spool") == ["deferred a@dest.example 0"]


async def test_settling_goes_on_when_only_new_mail_has_no_room(
    open_spool: OpenSpool, writing: list[Connection]
) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make(body=bytes(50_000))))
    await fill(spool, writing[-1])
    appending = spool.append(make(body=bytes(100_000)))
    settling = spool.settle(Settlement(delivery, OK, NOW_MS))
    assert await appending == FULL
    assert await settling


async def test_closing_with_a_full_disk_gives_up(open_spool: OpenSpool, writing: list[Connection]) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make()))
    writing[-1].code, writing[-1].failing = sqlite3.SQLITE_FULL, "COMMIT"
    settling = spool.settle(Settlement(delivery, OK, NOW_MS))
    await spool.close()
    with pytest.raises(WriterStoppedError):
        await settling


@pytest.mark.usefixtures("writing")
async def test_a_foreign_lock_refuses_after_a_while(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    (delivery,) = accepted(await spool.append(make()))
    foreign = sqlite3.connect(tmp_path / "spool" / "spool.db", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    settling = spool.settle(Settlement(delivery, OK, NOW_MS))
    assert await spool.append(make()) == Refused(Reason.STORAGE_UNAVAILABLE)
    foreign.execute("ROLLBACK")
    foreign.close()
    assert await settling
    accepted(await spool.append(make()))


@pytest.mark.usefixtures("writing")
async def test_a_process_that_keeps_the_turn_refuses_after_a_while(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    stuck = FileLock(tmp_path / "spool" / "write.lock")
    assert stuck.try_exclusive()
    assert await spool.append(make()) == Refused(Reason.STORAGE_UNAVAILABLE)
    stuck.close()
    accepted(await spool.append(make()))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_CORRUPT])
@pytest.mark.parametrize("failing", ["BEGIN", "COMMIT"])
async def test_failed_storage_ends_the_process_and_answers_nothing(
    open_spool: OpenSpool, writing: list[Connection], tmp_path: Path, code: int, failing: str
) -> None:
    died = threading.Event()
    spool = open_spool(die=died.set)
    (delivery,) = accepted(await spool.append(make()))
    writing[-1].code, writing[-1].failing = code, failing
    waiting: list[asyncio.Future[Any]] = [spool.append(make()), spool.settle(Settlement(delivery, OK, NOW_MS))]
    await asyncio.to_thread(died.wait)
    await asyncio.to_thread(spool._writer._thread.join)
    await asyncio.sleep(0)
    assert not any(future.done() for future in waiting)
    marker = (tmp_path / "spool" / "spool.suspect").read_text()
    assert f"code {code}" in marker


async def test_new_mail_leaves_the_reserve_to_what_is_queued(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool()
    queued = [accepted(await spool.append(make(body=bytes(100_000))))[0] for _ in range(5)]
    headroom = -100_000
    monkeypatch.setattr("sekisho.queue.room.headroom_bytes", lambda _: headroom)
    monkeypatch.setattr(spool._writer, "_look_again_at", 0.0)
    refusal, settled = await asyncio.gather(spool.append(make()), spool.settle(Settlement(queued[0], OK, NOW_MS)))
    assert (refusal, settled) == (FULL, True)
    # A database keeps what it has had: what was settled left room within it, for all but files.
    for delivery in queued[1:]:
        assert await spool.settle(Settlement(delivery, OK, NOW_MS))
    accepted(await spool.append(make()))
    assert await spool.append(make(**large_body(spool.incoming, spool.body_path))) == FULL
    headroom = 0
    accepted(await spool.append(make(body=bytes(5_000_000))))


async def test_a_used_up_quota_is_a_full_disk(
    open_spool: OpenSpool, writing: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool()
    accepted(await spool.append(make()))

    def refuse(**_: object) -> NoReturn:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", refuse)
        writing[-1].code, writing[-1].failing = sqlite3.SQLITE_IOERR_WRITE, "COMMIT"
        assert await spool.append(make()) == FULL
    writing[-1].failing = ""
    accepted(await spool.append(make()))


def test_only_a_failed_write_can_be_a_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not is_quota(failure(sqlite3.SQLITE_IOERR_WRITE), tmp_path)
    refusals = iter([errno.EDQUOT, errno.ENOSPC, errno.EIO])

    def refuse(**_: object) -> NoReturn:
        raise OSError(next(refusals), "no")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert not is_quota(failure(sqlite3.SQLITE_IOERR_FSYNC), tmp_path)
    assert not is_quota(ValueError(), tmp_path)
    assert [is_quota(failure(sqlite3.SQLITE_IOERR_WRITE), tmp_path) for _ in range(3)] == [True, True, False]


async def test_a_log_whose_name_is_not_durable_promises_nothing(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: Path) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("sekisho.queue.writer.sync_directory", refuse)
    died = threading.Event()
    spool = open_spool(die=died.set)
    waiting = spool.append(make())
    await asyncio.to_thread(died.wait)
    await asyncio.to_thread(spool._writer._thread.join)
    await asyncio.sleep(0)
    assert not waiting.done()
    assert "Input/output error" in (tmp_path / "spool" / "spool.suspect").read_text()


async def test_a_suspect_spool_ends_everybody_who_uses_it(open_spool: OpenSpool, tmp_path: Path) -> None:
    died = threading.Event()
    idle = open_spool(die=died.set)
    (tmp_path / "spool" / "spool.suspect").write_text("seen by another process\n")
    await asyncio.to_thread(died.wait)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(idle.append(make()), 0.05)


async def test_the_log_is_copied_into_the_database_now_and_then(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sekisho.queue.writer._CHECKPOINT_BYTES", 100_000)
    spool = open_spool()
    for _ in range(100):
        (delivery,) = accepted(await spool.append(make(body=bytes(10_000))))
        await spool.settle(Settlement(delivery, OK, NOW_MS))
    assert (tmp_path / "spool" / "spool.db-wal").stat().st_size < 1_000_000
    # What is settled makes room for what comes.
    assert (tmp_path / "spool" / "spool.db").stat().st_size < 400_000


async def test_a_batch_is_answered_in_one_call(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    stuck = FileLock(tmp_path / "spool" / "write.lock")
    assert stuck.try_exclusive()
    first = spool.append(make())
    rest = [spool.append(make()) for _ in range(20)]
    stuck.close()
    await first
    await rest[0]
    # All of a batch are done in the same turn of the loop.
    assert all(future.done() for future in rest)
