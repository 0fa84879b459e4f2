from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from sekisho.db import Database, DatabaseUnavailable, sqlite
from sekisho.db.sqlite import FileWatch
from tests.unit.db.tables import METADATA, PARENT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    made = Database(path)
    with made.begin() as tx:
        METADATA.create_all(tx)
    yield made
    made.close()


def count(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(PARENT)).scalar_one()


def test_another_processes_last_close_leaves_our_log_alone(database: Database, path: Path) -> None:
    """SQLite removes the log when it believes that nobody else has the file open: it goes by POSIX locks."""
    with database.connect(), database.connect():  # two at once: the second is a new connection beside an open one
        pass
    other = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]);"
        "db.execute('INSERT INTO parent DEFAULT VALUES'); db.commit(); db.close()"
    )
    subprocess.run([sys.executable, "-c", other, path], check=True, timeout=60)
    assert path.with_name("test.db-wal").exists()
    assert count(database) == 1


def test_every_connection_syncs_each_commit_in_wal(database: Database) -> None:
    with database.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == sqlite.BUSY_TIMEOUT_MS


def test_only_the_owner_can_read_the_files_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(tmp_path / "private.db")
        with database.begin() as tx:
            METADATA.create_all(tx)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    database.close()
    assert modes == dict.fromkeys(("private.db", "private.db-wal", "private.db-shm"), 0o600)


def test_a_lock_held_too_long_is_unavailability(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 0)
    impatient = Database(path)
    with database.begin(), pytest.raises(DatabaseUnavailable, match="locked"), impatient.begin():
        pass
    impatient.close()


@pytest.mark.parametrize("content", [b"no database at all, and long enough to be looked at" * 100])
def test_a_file_that_is_no_database_is_unavailability(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    database = Database(path)
    with pytest.raises(DatabaseUnavailable), database.connect():
        pass


def test_a_missing_directory_is_unavailability(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable), Database(tmp_path / "nowhere" / "test.db").connect():
        pass


def test_a_path_is_taken_literally(tmp_path: Path) -> None:
    odd = tmp_path / "a?mode=memory&b #%41.db"
    database = Database(odd)
    with database.begin() as tx:
        METADATA.create_all(tx)
    with closing(database.watch()) as watch:
        assert watch.changed()
    database.close()
    assert odd.exists()


# Watching.


def test_a_watch_tells_of_others_commits_once(database: Database) -> None:
    with closing(database.watch()) as watch:
        assert [watch.changed(), watch.changed()] == [True, False]
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))
        assert [watch.changed(), watch.changed()] == [True, False]
        watch.forget()
        assert [watch.changed(), watch.changed()] == [True, False]


def test_a_watch_sees_another_process_commit(database: Database, path: Path) -> None:
    with closing(database.watch()) as watch:
        watch.changed()
        program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript('INSERT INTO parent VALUES (1)')"
        subprocess.run([sys.executable, "-c", program, str(path)], check=True)
        assert watch.changed()


def test_a_watch_does_not_make_the_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        FileWatch(tmp_path / "absent.db")
    assert not (tmp_path / "absent.db").exists()


def test_a_watch_notices_that_the_file_was_replaced_or_removed(database: Database, path: Path, tmp_path: Path) -> None:
    with closing(database.watch()) as watch:
        watch.changed()
        with closing(sqlite3.connect(tmp_path / "other.db")) as other:
            other.execute("CREATE TABLE t (a)")
        (tmp_path / "other.db").replace(path)
        with pytest.raises(DatabaseUnavailable, match="replaced"):
            watch.changed()
        path.unlink()
        with pytest.raises(DatabaseUnavailable, match="found"):
            watch.changed()


def test_files_do_without_the_servers_client() -> None:
    program = (
        "import sys; from pathlib import Path; from sekisho import db; db.Database(Path('x'))\n"
        "assert not [name for name in sys.modules if name.startswith('psycopg')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
