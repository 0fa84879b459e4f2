from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from sekisho import db, migrations
from sekisho.db import Database, DatabaseUnavailable, History, SchemaTooNew, SchemaTooOld, Watch

METADATA = sa.MetaData()
PARENT = sa.Table("parent", METADATA, sa.Column("id", db.ROW_ID, primary_key=True))
CHILD = sa.Table("child", METADATA, sa.Column("parent_id", sa.ForeignKey("parent.id"), nullable=False))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "test.db")
    with made.begin() as tx:
        METADATA.create_all(tx)
    yield made
    made.close()


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
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == db.BUSY_TIMEOUT_MS


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
    monkeypatch.setattr(db, "BUSY_TIMEOUT_MS", 0)
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


# Watch.


def test_a_watch_tells_of_others_commits_once(database: Database) -> None:
    with closing(database.watch()) as watch:
        assert [watch.changed(), watch.changed()] == [True, False]
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))
        assert [watch.changed(), watch.changed()] == [True, False]
        watch.forget()
        assert [watch.changed(), watch.changed()] == [True, False]


def test_a_watch_sees_another_process_commit(database: Database) -> None:
    with closing(database.watch()) as watch:
        watch.changed()
        program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript('INSERT INTO parent VALUES (1)')"
        subprocess.run([sys.executable, "-c", program, str(database.path)], check=True)
        assert watch.changed()


def test_a_watch_does_not_make_the_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        Watch(tmp_path / "absent.db")
    assert not (tmp_path / "absent.db").exists()


def test_a_watch_notices_that_the_file_was_replaced_or_removed(database: Database, tmp_path: Path) -> None:
    with closing(database.watch()) as watch:
        watch.changed()
        with closing(sqlite3.connect(tmp_path / "other.db")) as other:
            other.execute("CREATE TABLE t (a)")
        (tmp_path / "other.db").replace(database.path)
        with pytest.raises(DatabaseUnavailable, match="replaced"):
            watch.changed()
        database.path.unlink()
        with pytest.raises(DatabaseUnavailable, match="found"):
            watch.changed()


# Schema.


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "fresh.db")
    yield made
    made.close()


def set_schema(database: Database, history: History, number: str) -> None:
    with database.begin() as tx:
        tx.execute(sa.update(sa.table(history.version_table, sa.column("version_num"))).values(version_num=number))


@pytest.mark.parametrize("history", History)
def test_upgrading_twice_does_something_once(fresh: Database, history: History) -> None:
    with pytest.raises(SchemaTooOld, match="none"):
        db.check(fresh, history)
    assert db.upgrade(fresh, history)
    assert not db.upgrade(fresh, history)
    db.check(fresh, history)


def test_both_histories_fit_into_one_database(fresh: Database) -> None:
    assert db.upgrade(fresh, History.CONTROL)
    assert db.upgrade(fresh, History.EVENTS)
    assert not db.upgrade(fresh, History.CONTROL)


RELEASE = int(migrations.HEADS["control"].partition(".")[0])


@pytest.mark.parametrize("found", [f"{RELEASE}.99", f"{RELEASE + 1}.0", f"{RELEASE + 1}.7"])
def test_the_next_releases_schema_is_worked_with_and_left_alone(fresh: Database, found: str) -> None:
    db.upgrade(fresh, History.CONTROL)
    set_schema(fresh, History.CONTROL, found)
    db.check(fresh, History.CONTROL)
    assert not db.upgrade(fresh, History.CONTROL)


@pytest.mark.parametrize("found", [f"{RELEASE + 2}.0", f"{RELEASE + 10}.3", "tomorrow"])
def test_a_later_releases_schema_is_refused(fresh: Database, found: str) -> None:
    db.upgrade(fresh, History.CONTROL)
    set_schema(fresh, History.CONTROL, found)
    for refuse in (db.check, db.upgrade):
        with pytest.raises(SchemaTooNew, match=found):
            refuse(fresh, History.CONTROL)


def test_workers_and_commands_on_a_current_schema_do_without_alembic(fresh: Database) -> None:
    db.upgrade(fresh, History.CONTROL)
    program = (
        "import sys; from pathlib import Path; from sekisho import db\n"
        "database = db.Database(Path(sys.argv[1]))\n"
        "db.check(database, db.History.CONTROL); db.upgrade(database, db.History.CONTROL)\n"
        "assert not {'alembic', 'mako'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(fresh.path)], check=True)


def _upgrade(path: Path, ready: threading.Barrier) -> None:
    ready.wait()
    database = Database(path)
    db.upgrade(database, History.CONTROL)
    db.check(database, History.CONTROL)


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    started = [context.Process(target=_upgrade, args=(tmp_path / "raced.db", ready)) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0, 0]
