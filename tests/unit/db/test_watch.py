from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from sekisho.db import Database, DatabaseUnavailable, Watch
from tests.unit.db.tables import PARENT


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
