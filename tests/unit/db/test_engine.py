"""What both engines promise."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from sekisho.db import Database, DatabaseUnavailable
from tests.fakes.databases import NewDatabase, named, out_of_reach
from tests.unit.db.tables import CHILD, PARENT


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


def test_writers_that_wait_for_their_turn_leave_connections_to_readers(database: Database) -> None:
    waiting = threading.Semaphore(0)
    sa.event.listen(database._writing, "checkout", lambda *_: waiting.release())

    def write() -> None:
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))

    writers = [threading.Thread(target=write) for _ in range(12)]
    with database.begin() as tx:
        tx.execute(sa.insert(PARENT))
        for writer in writers:
            writer.start()
        assert all(waiting.acquire(timeout=4) for _ in range(1 + len(writers)))
        assert count(database) == 0
    for writer in writers:
        writer.join()
    assert count(database) == 13


def test_a_reading_transaction_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"read-?only"), database.connect() as connection:
        connection.execute(sa.insert(PARENT))
    with database.begin() as tx:  # the same pooled connection, writable again
        tx.execute(sa.insert(PARENT))
    with pytest.raises(DatabaseUnavailable, match=r"read-?only"), database.connect() as connection:
        connection.execute(sa.insert(PARENT))


def test_foreign_keys_are_enforced_and_the_error_is_the_statements_own(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.begin() as tx:
        tx.execute(sa.insert(CHILD).values(parent_id=7))


def test_errors_do_not_show_the_values_of_a_statement(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught, database.begin() as tx:
        tx.execute(sa.insert(PARENT), [{"id": 424242}, {"id": 424242}])
    assert "424242" not in str(caught.value)
    with database.begin() as tx:
        tx.execute(sa.insert(PARENT).values(id=434343))
    with pytest.raises(sa.exc.IntegrityError) as caught, database.begin() as tx:
        tx.execute(sa.insert(PARENT).values(id=434343))
    assert "434343" not in str(caught.value)


def test_a_wrong_statement_is_not_unavailability(database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError), database.connect() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")


def test_a_database_that_went_away_is_unavailability_and_comes_back(database: Database) -> None:
    assert count(database) == 0
    with out_of_reach(database):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable) as caught:
                count(database)
            assert "\n" not in str(caught.value)
            with pytest.raises(DatabaseUnavailable), database.begin():
                pass
    assert count(database) == 0
    with database.begin() as tx:
        tx.execute(sa.insert(PARENT))
    assert count(database) == 1


def test_many_threads_write_without_losing_anything(database: Database) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(20):
                with database.begin() as tx:
                    # Read, then write: a decision that another's commit in between would make wrong.
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


def test_a_writer_waits_for_its_turn_in_another_process_too(database: Database) -> None:
    program = (
        "import sys; import sqlalchemy as sa; from tests.fakes.databases import opened\n"
        "from tests.unit.db.tables import PARENT\n"
        "with opened(sys.argv[1]).begin() as tx:\n"
        "    print('mine', flush=True); sys.stdin.read(1)\n"
        "    tx.execute(sa.insert(PARENT).values(id=1))\n"
    )
    highest: list[int | None] = []

    def read_and_write() -> None:
        with database.begin() as tx:
            highest.append(tx.execute(sa.select(sa.func.max(PARENT.c.id))).scalar())

    with subprocess.Popen(
        [sys.executable, "-c", program, named(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        mine = threading.Thread(target=read_and_write)
        mine.start()
        mine.join(0.1)
        assert not highest
        other.communicate(b".")
        mine.join()
    assert highest == [1]


# News of commits.


def test_a_watch_tells_of_a_commit_at_once(database: Database) -> None:
    watch, stopping = database.watch(), threading.Event()
    try:
        assert watch.changed()
        heard: list[bool] = []

        def listen() -> None:
            while not heard:
                # A minute: nothing but news ends it. SQLite has none to wait for, and is asked again.
                watch.wait(stopping, 60 if database.is_shared else 0.005)
                if watch.changed():
                    heard.append(True)

        listener = threading.Thread(target=listen)
        listener.start()
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))
        listener.join(30)
        assert heard
    finally:
        watch.close()


def test_a_watch_of_what_is_out_of_reach_says_so(database: Database) -> None:
    with out_of_reach(database), pytest.raises(DatabaseUnavailable):
        database.watch().changed()


def test_a_database_is_opened_when_it_is_used(new_database: NewDatabase) -> None:
    database = new_database()
    with out_of_reach(database) if database.is_shared else contextlib.nullcontext():
        other = Database(database.place)
    other.close()
