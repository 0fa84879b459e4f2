"""What is particular to SQLite: files, their log, the one write lock, and telling whether a file has changed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from sekisho.db.faults import DatabaseUnavailable, translated

BUSY_TIMEOUT_MS: Final = 5000
"""How long a writer waits for another process's transaction before it is DatabaseUnavailable."""

_POOL_SIZE: Final = 2
_POOL_OVERFLOW: Final = 18
"""More than a process has threads that write: those hold a connection each while they wait for their turn, and whoever
only reads, to log in for one, must find another."""
_POOL_TIMEOUT_S: Final = 5.0
_WAL_TRIES: Final = 100
_WAL_PAUSE_S: Final = 0.05
_WATCH_TIMEOUT_MS: Final = 1000
_POLL_S: Final = 0.2


def open_engine(path: Path) -> Engine:
    """Make the engine for a file; its option ``sekisho_writes`` begins transactions with the write lock."""
    engine = sa.create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
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


class FileWatch:
    """A Watch of a file; a question costs microseconds."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        with translated():
            try:
                self._file = _identity(path)
                # Read-only by URI: a watcher must never create the file that it was to watch.
                self._connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
                )
            except OSError as error:
                raise DatabaseUnavailable(_gone(path)) from error
            self._connection.execute(f"PRAGMA busy_timeout = {_WATCH_TIMEOUT_MS}")
        self._seen: int | None = None

    def changed(self) -> bool:
        with translated():
            try:
                file = _identity(self._path)
            except OSError as error:
                raise DatabaseUnavailable(_gone(self._path)) from error
            if file != self._file:
                # Open connections still read the old file: nothing they say is true any more.
                message = f"{self._path.name} was replaced by another file"
                raise DatabaseUnavailable(message)
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._seen:
            return False
        self._seen = version
        return True

    def forget(self) -> None:
        self._seen = None

    @staticmethod
    def wait(stopping: threading.Event, poll_s: float | None = None) -> None:
        stopping.wait(_POLL_S if poll_s is None else poll_s)

    def close(self) -> None:
        self._connection.close()


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


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _gone(path: Path) -> str:
    return f"{path.name} cannot be found"
