"""Many rows in one statement.

Python's sqlite3 gives the interpreter lock up and takes it back around every statement that it runs, also for each row
of ``executemany``; beside a busy loop each of those may cost a thread switch. A statement for many rows pays once. Row
numbers are cut into powers of two, so that there are few different statements and all stay prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_ROWS_MAX: Final = 64
"""Rows in one statement: with 12 columns far below SQLite's 32,766 variables."""


class Insert:
    """``INSERT INTO table (columns)``, any number of rows at a time."""

    __slots__ = ("_statements",)

    def __init__(self, table: str, columns: str, values: str = "") -> None:
        """``values``: what stands for the columns, where not all are variables."""
        # OR FAIL: the caller rolls the transaction back anyway, and SQLite need not be able to undo half a statement.
        head = f"INSERT OR FAIL INTO {table} ({columns}) VALUES "
        row = f"({values or ', '.join('?' for _ in columns.split(','))})"
        self._statements: Final = {count: head + ", ".join([row] * count) for count in _powers()}

    def __call__(self, cursor: sqlite3.Cursor, rows: Sequence[tuple[object, ...]]) -> None:
        for part in parts(rows):
            cursor.execute(self._statements[len(part)], [value for row in part for value in row])


class WithRows:
    """A statement with a ``{rows}`` list of row numbers in it, behind its other variables."""

    __slots__ = ("_statements",)

    def __init__(self, statement: str) -> None:
        self._statements: Final = {
            count: statement.format(rows=", ".join("?" for _ in range(count))) for count in _powers()
        }

    def __call__(self, cursor: sqlite3.Cursor, rows: Sequence[int], *others: object) -> int:
        """Run it; how many rows it changed."""
        changed = 0
        for part in parts(rows):
            cursor.execute(self._statements[len(part)], [*others, *part])
            changed += cursor.rowcount
        return changed


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut into runs whose lengths are powers of two, the longest first."""
    at, left = 0, len(rows)
    while left:
        count = min(1 << left.bit_length() - 1, _ROWS_MAX)
        yield rows[at : at + count]
        at += count
        left -= count


def _powers() -> list[int]:
    return [1 << exponent for exponent in range(_ROWS_MAX.bit_length())]
