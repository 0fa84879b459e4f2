"""Logs as SQLite leaves them behind, whole and damaged."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sekisho.queue import walcheck

CHANCE = random.Random(5)  # noqa: S311  # damage, not secrets
PAGE = 4096
FRAME = 24 + PAGE


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "live.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE mail (row INTEGER PRIMARY KEY, body BLOB)")
        commit(connection, 10)
        yield connection


def commit(connection: sqlite3.Connection, count: int) -> None:
    for _ in range(count):
        connection.execute("INSERT INTO mail (body) VALUES (?)", (CHANCE.randbytes(6000),))


def left_behind(tmp_path: Path, *, index: bool = True) -> Path:
    """The files as a killed process leaves them."""
    place = tmp_path / "left"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for suffix in ("", "-wal", "-shm") if index else ("", "-wal"):
        shutil.copyfile(tmp_path / f"live.db{suffix}", place / f"live.db{suffix}")
    return place / "live.db"


def wal(database: Path) -> Path:
    return database.with_name("live.db-wal")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def rows(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM mail").fetchone()
    return int(count)


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("index", [True, False])
def test_a_whole_log_is_whole(tmp_path: Path, index: bool) -> None:
    database = left_behind(tmp_path, index=index)
    assert walcheck.fault(database) is None
    assert rows(database) == 10


def test_nothing_there_is_nothing_damaged(tmp_path: Path) -> None:
    assert walcheck.fault(tmp_path / "live.db") is None


def test_a_log_that_was_begun_anew_has_old_pages_behind(tmp_path: Path, writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA wal_checkpoint(RESTART)")
    commit(writer, 2)
    for index in (True, False):
        database = left_behind(tmp_path, index=index)
        assert walcheck.fault(database) is None
        assert rows(database) == 12


def test_what_was_rolled_back_or_never_finished_was_promised_to_nobody(
    tmp_path: Path, writer: sqlite3.Connection
) -> None:
    writer.execute("PRAGMA cache_size=2")  # pages of the transaction go to the log before its end
    writer.execute("BEGIN")
    commit(writer, 50)
    database = left_behind(tmp_path)
    assert walcheck.fault(database) is None
    writer.execute("ROLLBACK")
    commit(writer, 1)
    database = left_behind(tmp_path)
    assert wal(database).stat().st_size > 60 * FRAME, "the rolled back pages are there"
    assert walcheck.fault(database) is None


def test_a_torn_last_commit_was_promised_to_nobody(tmp_path: Path, writer: sqlite3.Connection) -> None:
    before = left_behind(tmp_path)
    index = before.with_name("live.db-shm").read_bytes()
    length = wal(before).stat().st_size
    commit(writer, 1)
    # Power failed while it was written: the index knows nothing of it, and its first page did not get to the disk.
    database = left_behind(tmp_path)
    database.with_name("live.db-shm").write_bytes(index)
    flip(wal(database), length + 100)
    assert walcheck.fault(database) is None


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("size", [0, 20, 32, 32 + FRAME, 32 + 3 * FRAME + 100])
def test_a_cut_log_is_missed(tmp_path: Path, size: int) -> None:
    database = left_behind(tmp_path)
    with wal(database).open("r+b") as file:
        file.truncate(size)
    why = walcheck.fault(database)
    assert why is not None
    assert "held" in why


@pytest.mark.usefixtures("writer")
def test_a_log_that_is_gone_is_missed(tmp_path: Path) -> None:
    database = left_behind(tmp_path)
    wal(database).unlink()
    assert walcheck.fault(database) is not None


def test_what_was_copied_into_the_database_is_not_missed(tmp_path: Path, writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
    database = left_behind(tmp_path)
    wal(database).write_bytes(b"")
    assert walcheck.fault(database) is None
    assert rows(database) == 10


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("at", range(0, 32, 5))
def test_a_damaged_header_is_seen(tmp_path: Path, at: int) -> None:
    database = left_behind(tmp_path, index=False)
    flip(wal(database), at)
    assert walcheck.fault(database) is not None


@pytest.mark.usefixtures("writer")
def test_one_flipped_bit_anywhere_is_seen(tmp_path: Path) -> None:
    for _ in range(30):
        database = left_behind(tmp_path)
        place = CHANCE.randrange(wal(database).stat().st_size)
        flip(wal(database), place)
        assert walcheck.fault(database) is not None, place


@pytest.mark.usefixtures("writer")
def test_commits_behind_the_damage_tell_without_an_index(tmp_path: Path) -> None:
    database = left_behind(tmp_path, index=False)
    flip(wal(database), 32 + 2 * FRAME + 200)
    why = walcheck.fault(database)
    assert why is not None
    assert "commits behind" in why


@pytest.mark.usefixtures("writer")
def test_an_index_of_nonsense_says_nothing(tmp_path: Path) -> None:
    database = left_behind(tmp_path)
    for content in (b"", b"x" * 50, CHANCE.randbytes(32768)):
        database.with_name("live.db-shm").write_bytes(content)
        assert walcheck.fault(database) is None
