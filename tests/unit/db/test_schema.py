from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from sekisho import db, migrations
from sekisho.db import Database, History, SchemaTooNew, SchemaTooOld
from tests.fakes.databases import NewDatabase, named, opened


@pytest.fixture
def fresh(new_database: NewDatabase) -> Database:
    return new_database()


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
        "import sys; from sekisho import db; from tests.fakes.databases import opened\n"
        "database = opened(sys.argv[1])\n"
        "db.check(database, db.History.CONTROL); db.upgrade(database, db.History.CONTROL)\n"
        "assert not {'alembic', 'mako'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, named(fresh)], check=True)


def _upgrade(name: str, ready: threading.Barrier) -> None:
    ready.wait()
    database = opened(name)
    db.upgrade(database, History.CONTROL)
    db.check(database, History.CONTROL)


def test_processes_that_start_at_once_migrate_once(fresh: Database) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    started = [context.Process(target=_upgrade, args=(named(fresh), ready)) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0, 0]


@pytest.mark.parametrize("history", History)
def test_a_start_upgrades_a_file_and_leaves_a_server_to_its_operator(fresh: Database, history: History) -> None:
    if fresh.is_shared:
        with pytest.raises(SchemaTooOld, match="sekisho db upgrade"):
            db.ready(fresh, history)
        db.upgrade(fresh, history)
    else:
        assert db.ready(fresh, history)
    assert not db.ready(fresh, history)
