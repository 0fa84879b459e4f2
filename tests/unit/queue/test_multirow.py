from __future__ import annotations

import sqlite3

import pytest

from sekisho.queue.multirow import Insert, WithRows


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 200])
def test_every_row_goes_in_and_out_once(count: int) -> None:
    cursor = sqlite3.connect(":memory:").cursor()
    cursor.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c INTEGER)")

    Insert("t", "a, b, c", "?, ?, 7")(cursor, [(number, str(number)) for number in range(count)])

    assert cursor.execute("SELECT a, b, c FROM t ORDER BY a").fetchall() == [(n, str(n), 7) for n in range(count)]
    delete = WithRows("DELETE FROM t WHERE c = ? AND a IN ({rows})")
    assert delete(cursor, range(0, count, 2), 8) == 0
    assert delete(cursor, range(0, count, 2), 7) == len(range(0, count, 2))
    assert cursor.execute("SELECT count(*) FROM t").fetchone() == (count // 2,)
    cursor.connection.close()


def test_a_row_that_does_not_fit_is_an_error() -> None:
    cursor = sqlite3.connect(":memory:").cursor()
    cursor.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")

    with pytest.raises(sqlite3.IntegrityError):
        Insert("t", "a")(cursor, [(1,), (1,)])
    cursor.connection.close()
