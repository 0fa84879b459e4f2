from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from sekisho.db import Database, DatabaseUnavailable, engine
from tests.unit.db.tables import CHILD, METADATA, PARENT


def count(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(PARENT)).scalar_one()


def break_off_after(database: Database, statement: sa.Executable) -> None:
    with contextlib.suppress(ZeroDivisionError), database.begin() as tx:
        tx.execute(statement)
        raise ZeroDivisionError


def test_what_was_committed_is_there_and_what_was_not_is_not(database: Database) -> None:
    with database.begin() as tx:
        tx.execute(sa.insert(PARENT))
    break_off_after(database, sa.insert(PARENT))
    assert count(database) == 1


def test_tables_are_made_in_the_transaction_too(database: Database) -> None:
    break_off_after(database, sa.text("CREATE TABLE other (a INTEGER)"))
    with database.connect() as connection:
        assert not sa.inspect(connection).has_table("other")


def test_a_reader_sees_one_snapshot_while_a_writer_commits(database: Database) -> None:
    counting = sa.select(sa.func.count()).select_from(PARENT)
    with database.connect() as reader:
        assert reader.execute(counting).scalar_one() == 0
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))
        assert reader.execute(counting).scalar_one() == 0
    assert count(database) == 1


def test_another_processes_last_close_leaves_our_log_alone(database: Database) -> None:
    """SQLite removes the log when it believes that nobody else has the file open: it goes by POSIX locks."""
    with database.connect(), database.connect():  # two at once: the second is a new connection beside an open one
        pass
    other = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]);"
        "db.execute('INSERT INTO parent DEFAULT VALUES'); db.commit(); db.close()"
    )
    subprocess.run([sys.executable, "-c", other, database.path], check=True, timeout=60)
    assert database.path.with_name("test.db-wal").exists()
    assert count(database) == 1


def test_a_reading_transaction_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="readonly"), database.connect() as connection:
        connection.execute(sa.insert(PARENT))
    with database.begin() as tx:  # the same pooled connection, writable again
        tx.execute(sa.insert(PARENT))


def test_foreign_keys_are_enforced_and_the_error_is_the_statements_own(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.begin() as tx:
        tx.execute(sa.insert(CHILD).values(parent_id=7))


def test_every_connection_syncs_each_commit_in_wal(database: Database) -> None:
    with database.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == engine.BUSY_TIMEOUT_MS


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


def test_errors_do_not_show_the_values_of_a_statement(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught, database.begin() as tx:
        tx.execute(sa.insert(PARENT), [{"id": 424242}, {"id": 424242}])
    assert "424242" not in str(caught.value)


def test_a_lock_held_too_long_is_unavailability(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 0)
    impatient = Database(database.path)
    with database.begin(), pytest.raises(DatabaseUnavailable, match="locked"), impatient.begin():
        pass
    impatient.close()


@pytest.mark.parametrize("content", [b"no database at all, and long enough to be looked at" * 100])
def test_a_file_that_is_no_database_is_unavailability(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test.db").write_bytes(content)
    database = Database(tmp_path / "test.db")
    with pytest.raises(DatabaseUnavailable), database.connect():
        pass


def test_a_missing_directory_is_unavailability(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable), Database(tmp_path / "nowhere" / "test.db").connect():
        pass


def test_a_wrong_statement_is_not_unavailability(database: Database) -> None:
    with pytest.raises(sa.exc.OperationalError), database.connect() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")


@pytest.mark.parametrize("url", ["postgresql://somebody@localhost/sekisho", "sqlite://", "sqlite:///:memory:"])
def test_only_sqlite_files_are_taken(url: str) -> None:
    with pytest.raises(ValueError, match="SQLite"):
        Database(url)


def test_a_url_names_the_same_file_as_its_path(database: Database) -> None:
    by_url = Database(f"sqlite:///{database.path}")
    assert count(by_url) == 0
    by_url.close()


def test_a_path_is_taken_literally(tmp_path: Path) -> None:
    odd = tmp_path / "a?mode=memory&b #%41.db"
    database = Database(odd)
    with database.begin() as tx:
        METADATA.create_all(tx)
    with closing(database.watch()) as watch:
        assert watch.changed()
    database.close()
    assert odd.exists()


def test_many_threads_write_without_losing_anything(database: Database) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(20):
                with database.begin() as tx:
                    # Read, then write: the pattern that fails with BUSY where the lock is taken late.
                    highest = tx.execute(sa.select(sa.func.max(PARENT.c.id))).scalar() or 0
                    tx.execute(sa.insert(PARENT).values(id=highest + 1))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert count(database) == 120
