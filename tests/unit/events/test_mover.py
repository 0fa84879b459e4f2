from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from sekisho import db
from sekisho.db import Database
from sekisho.events import log, mover
from sekisho.events.mover import Mover, exclusive, move_batch
from sekisho.events.record import encode
from sekisho.events.tables import event_unreadable
from tests.unit.events.stories import ACCEPTED_MS, MemoryOutbox, message, settled

POLL_S = 0.005


@pytest.fixture
def database(event_store: Database) -> Database:
    return event_store


def filled(messages: int, outbox: MemoryOutbox | None = None) -> MemoryOutbox:
    outbox = outbox or MemoryOutbox()
    for number in range(messages):
        outbox.put(*encode(settled(of=message(number))))
    return outbox


def total(database: Database) -> int:
    return len(log.read(database, 0, 1_000_000).events)


def test_a_batch_is_stored_and_then_deleted(database: Database) -> None:
    outbox = filled(3)
    assert move_batch(outbox, database, ACCEPTED_MS) == 6
    assert move_batch(outbox, database, ACCEPTED_MS) == 0
    assert (total(database), outbox.rows) == (6, {})


def test_batches_are_bounded(database: Database) -> None:
    outbox = filled(mover.BATCH_MAX // 2 + 3)
    assert move_batch(outbox, database, ACCEPTED_MS) == mover.BATCH_MAX
    assert len(outbox.rows) == 6
    assert mover.drain(outbox, database, ACCEPTED_MS) == 6


class Crash(Exception):
    """The process is gone."""


class CrashingOutbox(MemoryOutbox):
    crashes = True

    def delete_outbox(self, up_to: int) -> None:
        if self.crashes:
            raise Crash
        super().delete_outbox(up_to)


def test_a_crash_between_storing_and_deleting_stores_nothing_twice(database: Database) -> None:
    outbox = CrashingOutbox()
    filled(3, outbox)
    for _ in range(2):
        with pytest.raises(Crash):
            move_batch(outbox, database, ACCEPTED_MS)
    outbox.put(*encode(settled(of=message(9))))
    outbox.crashes = False
    assert move_batch(outbox, database, ACCEPTED_MS) == 8
    assert (total(database), outbox.rows, log.mark(database, outbox.spool_id)) == (8, {}, 8)


def test_a_crash_before_storing_loses_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = filled(3)

    def crash(*_: object) -> int:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(log, "_count", crash)  # the last step of the transaction
        with pytest.raises(Crash):
            move_batch(outbox, database, ACCEPTED_MS)
    assert (total(database), len(outbox.rows)) == (0, 6)
    move_batch(outbox, database, ACCEPTED_MS)
    assert (total(database), len(outbox.rows)) == (6, 0)


@pytest.mark.parametrize("damaged", [b"", b"\xc1", b"\x80", b"\xff" * 300, b"\x91" * 100_000])
def test_what_is_no_event_is_set_aside_and_told(database: Database, damaged: bytes) -> None:
    outbox = filled(1)
    outbox.put(damaged)
    filled(1, outbox)
    outbox.put(*encode(settled(of=message(5))))
    with capture_logs() as logged:
        assert mover.drain(outbox, database, ACCEPTED_MS) == 7
    assert [(line["event"], line["log_level"], line["seq"]) for line in logged] == [("mover.not_an_event", "error", 3)]
    with database.connect() as connection:
        assert connection.execute(sa.select(event_unreadable.c.payload)).scalars().all() == [damaged]
    assert (total(database), outbox.rows) == (4, {})


# One at a time.


def test_only_one_moves_at_a_time(tmp_path: Path, database: Database) -> None:
    outbox = filled(1)
    one = Mover(tmp_path / "spool.db", lambda: outbox, database, lock_path=tmp_path / "mover.lock")
    with exclusive(tmp_path / "mover.lock") as alone:
        assert alone
        assert one.run_once() == 0
    assert one.run_once() == 2
    assert outbox.closed == 1


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from sekisho.events.mover import exclusive\n"
        "with exclusive(Path(sys.argv[1])) as alone:\n    print(alone, flush=True); os.read(0, 1)"
    )
    path = tmp_path / "mover.lock"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        with exclusive(path) as alone:
            assert not alone
        other.kill()
    with exclusive(path) as alone:
        assert alone


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), exclusive(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


# The thread, over a real file.


class FileOutbox:
    """An outbox in SQLite, as spools have it."""

    spool_id = "file"

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB)"
        )

    def put(self, *blobs: bytes) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO outbox (event) VALUES (?)", [(blob,) for blob in blobs])
        self._connection.execute("COMMIT")

    def read_outbox(self, after_seq: int, limit: int) -> list[tuple[int, bytes]]:
        query = "SELECT seq, event FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
        return self._connection.execute(query, (after_seq, limit)).fetchall()

    def delete_outbox(self, up_to: int) -> None:
        self._connection.execute("DELETE FROM outbox WHERE seq <= ?", (up_to,))

    def count(self) -> int:
        found: int = self._connection.execute("SELECT count(*) FROM outbox").fetchone()[0]
        return found

    def close(self) -> None:
        self._connection.close()


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        threading.Event().wait(POLL_S)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def running(database: Database, spool: Path) -> Iterator[Mover]:
    made = Mover(spool, lambda: FileOutbox(spool), database, lock_path=spool.parent / "mover.lock", poll_s=POLL_S)
    made.start()
    yield made
    made.stop()
    assert not made._thread.is_alive()


@pytest.mark.usefixtures("running")
def test_the_mover_waits_for_the_spool_and_follows_it(database: Database, spool: Path) -> None:
    with capture_logs() as logged:
        threading.Event().wait(POLL_S * 5)
        with closing(FileOutbox(spool)) as outbox:
            for number in range(5):
                outbox.put(*encode(settled(of=message(number))))
                if number % 2:
                    eventually(lambda: outbox.count() == 0)
            eventually(lambda: outbox.count() == 0)
    assert total(database) == 10
    assert logged == []


@pytest.mark.usefixtures("running")
def test_everything_of_several_writers_arrives_once(database: Database, spool: Path) -> None:
    numbers = itertools.count()

    def write() -> None:
        with closing(FileOutbox(spool)) as outbox:
            for _ in range(30):
                outbox.put(*encode(settled(of=message(next(numbers)))))

    FileOutbox(spool).close()  # a file becomes a WAL file under a lock that waits for nobody
    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    eventually(lambda: total(database) == 180)
    with closing(FileOutbox(spool)) as outbox:
        eventually(lambda: outbox.count() == 0)
    with database.connect() as connection:
        days = connection.execute(sa.select(db.events.tables["event_day"].c["count"])).scalars().all()
    assert days == [90, 90]


def test_a_store_that_fails_is_tried_again_and_complained_of(
    database: Database, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failing = log.append_batch, threading.Event()
    failing.set()

    def fail(*arguments: object) -> int:
        if failing.is_set():
            raise db.DatabaseUnavailable
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(log, "append_batch", fail)
    with closing(FileOutbox(spool)) as outbox, capture_logs() as logged:
        outbox.put(*encode(settled()))
        made = Mover(spool, lambda: FileOutbox(spool), database, lock_path=spool.parent / "lock", poll_s=POLL_S)
        made.start()
        eventually(lambda: len(logged) >= 2)
        assert outbox.count() == 2
        failing.clear()
        eventually(lambda: outbox.count() == 0)
        made.stop()
    assert total(database) == 2
    assert [bool(line["exc_info"]) for line in logged[:2]] == [True, False]


def test_an_outbox_that_fails_is_let_go_of_and_opened_again(
    database: Database, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool that is to be recovered waits for everybody to close it: silence must not keep the mover in it."""
    with closing(FileOutbox(spool)) as outbox:
        opened: list[FileOutbox] = []

        def reopen() -> FileOutbox:
            opened.append(FileOutbox(spool))
            return opened[-1]

        made = Mover(spool, reopen, database, lock_path=spool.parent / "lock", poll_s=POLL_S)
        made.start()
        eventually(lambda: len(opened) == 1)
        monkeypatch.setattr(opened[0], "read_outbox", lambda *_: 1 // 0)
        eventually(lambda: len(opened) == 2)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            opened[0].count()
        outbox.put(*encode(settled()))
        eventually(lambda: outbox.count() == 0)
        made.stop()


def test_a_mover_that_cannot_have_the_lock_waits_for_it(database: Database, spool: Path) -> None:
    made = Mover(spool, lambda: FileOutbox(spool), database, lock_path=spool.parent / "lock", poll_s=POLL_S)
    with closing(FileOutbox(spool)) as outbox:
        outbox.put(*encode(settled()))
        with exclusive(spool.parent / "lock"):
            made.start()
            threading.Event().wait(POLL_S * 5)
            assert outbox.count() == 2
        eventually(lambda: outbox.count() == 0)
    made.stop()


def test_stop_before_start_is_nothing(database: Database, spool: Path) -> None:
    Mover(spool, lambda: FileOutbox(spool), database, lock_path=spool.parent / "lock").stop()
