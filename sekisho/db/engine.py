"""Connections and transactions; what is particular to SQLite, so that PostgreSQL can take its place."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from sekisho.db.faults import translated
from sekisho.db.watch import Watch

BUSY_TIMEOUT_MS: Final = 5000
"""How long a writer waits for another process's transaction before it is DatabaseUnavailable."""

_POOL_SIZE: Final = 2
_POOL_OVERFLOW: Final = 6
_POOL_TIMEOUT_S: Final = 5.0
_WAL_TRIES: Final = 100
_WAL_PAUSE_S: Final = 0.05


class Database:
    """Short transactions on one database, from any thread of one process.

    Raises DatabaseUnavailable from both context managers when the storage is in the way; errors of a statement itself
    (constraints, syntax) come through as SQLAlchemy's.
    """

    def __init__(self, target: Path | str) -> None:
        """Name a SQLite file, or give a SQLAlchemy URL. Nothing is opened before the first use."""
        url = URL.create("sqlite+pysqlite", database=str(target)) if isinstance(target, Path) else sa.make_url(target)
        if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
            message = "only SQLite files are supported as a database"
            raise ValueError(message)
        self.path: Final = Path(url.database)
        self._reading: Final = _sqlite_engine(url, self.path)
        # The same pool; the option tells the begin event below that this transaction is going to write.
        self._writing: Final = self._reading.execution_options(sekisho_writes=True)

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a writing transaction: committed (and synced) at the end, rolled back on an exception.

        It holds the database's one write lock from its first line, so that what it reads stays true until it commits.
        """
        with translated(), self._writing.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a reading transaction: one consistent snapshot, no writes."""
        with translated(), self._reading.connect() as connection:
            yield connection

    def watch(self) -> Watch:
        """Tell of commits by others; see Watch."""
        return Watch(self.path)

    def close(self) -> None:
        """Close idle connections; those in use close when returned. The object stays usable."""
        self._reading.dispose()


def _sqlite_engine(url: URL, path: Path) -> Engine:
    engine = sa.create_engine(
        url,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=_POOL_TIMEOUT_S,
        hide_parameters=True,  # statements carry digests and sealed keys, and errors end up in logs
        connect_args={
            # The driver's own idea of when a transaction starts breaks snapshots and transactional DDL: it gets no say.
            "isolation_level": None,
            "timeout": BUSY_TIMEOUT_MS / 1000,
        },
    )

    @event.listens_for(engine, "do_connect")
    def _create(_dialect: Any, _record: Any, _args: Any, _kwargs: Any) -> None:
        # Only the owner may read it, whatever the umask; SQLite gives -wal and -shm the same mode. Exclusively: closing
        # a descriptor of a file that is there would drop this process's POSIX locks on it, and the next process to
        # close its own connection would take itself for the last and remove the log from under ours.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")  # a commit that returned survives the machine
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("sekisho_writes"):
            connection.exec_driver_sql("PRAGMA query_only = OFF")
            # Taking the write lock later, after a read, fails at once with BUSY when somebody wrote in between.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.exec_driver_sql("BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; of several processes that open a new file at once, all but one are told BUSY without waiting."""
    for attempt in range(_WAL_TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == _WAL_TRIES - 1:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return
