from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sekisho.db import DatabaseUnavailable
from sekisho.queue import outside
from sekisho.queue.layout import Layout


def rows_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM delivery").fetchone()[0])


def test_before_the_first_start_there_is_nothing(tmp_path: Path) -> None:
    assert outside.read(tmp_path, rows_of, -1) == -1
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_unavailable_and_no_fault_of_ours(tmp_path: Path) -> None:
    Layout(tmp_path).database.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(DatabaseUnavailable, match="the spool cannot be read"):
        outside.read(tmp_path, rows_of, 0)


def test_nothing_can_be_written_this_way(tmp_path: Path) -> None:
    sqlite3.connect(Layout(tmp_path).database).execute("CREATE TABLE delivery (row)").connection.close()

    def write(connection: sqlite3.Connection) -> int:
        return connection.execute("DELETE FROM delivery").rowcount

    assert outside.read(tmp_path, rows_of, -1) == 0
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        outside.read(tmp_path, write, 0)
