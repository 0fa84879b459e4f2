"""A spool read by processes that neither deliver from it nor write it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from sekisho.db import DatabaseUnavailable
from sekisho.queue import schema
from sekisho.queue.layout import Layout

T = TypeVar("T")


def read(directory: Path, query: Callable[[sqlite3.Connection], T], empty: T) -> T:
    """Run a query on a connection that cannot write; ``empty`` is the answer before the spool's first start.

    Raises DatabaseUnavailable when the spool cannot be read now.
    """
    database = Layout(directory).database
    if not database.exists():
        return empty
    try:
        with closing(schema.connect(database, read_only=True)) as connection:
            return query(connection)
    except sqlite3.Error as error:
        message = f"the spool cannot be read: {error}"
        raise DatabaseUnavailable(message) from error
