"""Many rows in one statement.

Python's sqlite3 gives the interpreter lock up and takes it back around every statement that it runs, also for each row
of ``executemany``; beside a busy loop each of those may cost a thread switch. A statement for many rows pays once.
There is one for each number of rows, and the connection keeps them prepared (``STATEMENTS``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

_ROWS_MAX: Final = 64
"""Rows in one statement: with 13 columns far below SQLite's 32,766 variables."""

STATEMENTS: Final = 6 * _ROWS_MAX
"""Prepared statements that a connection keeps which writes this way: five kinds of each number, and others."""


class Insert:
    """``INSERT INTO table (columns)``, any number of rows at a time."""

    __slots__ = ("_statements",)

    def __init__(self, table: str, columns: str, values: str = "") -> None:
        """``values``: what stands for the columns, where not all are variables."""
        # OR FAIL: the caller rolls the transaction back anyway, and SQLite need not be able to undo half a statement.
        head = f"INSERT OR FAIL INTO {table} ({columns}) VALUES "
        row = f"({values or ', '.join('?' for _ in columns.split(','))})"
        self._statements: Final = [head + ", ".join([row] * count) for count in range(_ROWS_MAX + 1)]

    def __call__(self, cursor: sqlite3.Cursor, rows: Sequence[tuple[object, ...]]) -> None:
        for at in range(0, len(rows), _ROWS_MAX):
            part = rows[at : at + _ROWS_MAX]
            cursor.execute(self._statements[len(part)], tuple(chain.from_iterable(part)))


class WithRows:
    """A statement with a ``{rows}`` list of row numbers in it, behind its other variables."""

    __slots__ = ("_statements",)

    def __init__(self, statement: str) -> None:
        self._statements: Final = [
            statement.format(rows=", ".join("?" for _ in range(count))) for count in range(_ROWS_MAX + 1)
        ]

    def __call__(self, cursor: sqlite3.Cursor, rows: Sequence[int], *others: object) -> int:
        """Run it; how many rows it changed."""
        changed = 0
        for at in range(0, len(rows), _ROWS_MAX):
            part = rows[at : at + _ROWS_MAX]
            cursor.execute(self._statements[len(part)], (*others, *part))
            changed += cursor.rowcount
        return changed
