"""The database under control data and events: engine, transactions, schema version.

Tables are defined beside their owners, on ``control`` or ``events``; this module only knows how to reach them.
What is particular to SQLite stays in this file, so that PostgreSQL can take its place. A Database belongs to the
process that made it: open it after the fork, never hand one across.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine

from sekisho import migrations

__all__ = [
    "ROW_ID",
    "Database",
    "DatabaseUnavailable",
    "History",
    "SchemaTooNew",
    "SchemaTooOld",
    "Watch",
    "check",
    "control",
    "events",
    "upgrade",
]

# Constraints have names of their own, so that a migration can speak of them on every engine.
_NAMING: Final = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

control: Final = sa.MetaData(naming_convention=_NAMING)
"""Accounts, keys, domains, audit, change feed."""

events: Final = sa.MetaData(naming_convention=_NAMING)
"""Events, day counters, the mover's position."""

ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Type of a numbered primary key: SQLite numbers rows by itself only under the name INTEGER."""

BUSY_TIMEOUT_MS: Final = 5000
"""How long a writer waits for another process's transaction before it is DatabaseUnavailable."""

_POOL_SIZE: Final = 2
_POOL_OVERFLOW: Final = 6
_POOL_TIMEOUT_S: Final = 5.0
_WAL_TRIES: Final = 100
_WAL_PAUSE_S: Final = 0.05

# Primary result codes that say "the storage is in the way", not "the statement is wrong".
_WORLDS_FAULT: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


class History(enum.StrEnum):
    """The two sets of tables that migrate on their own."""

    CONTROL = "control"
    EVENTS = "events"

    @property
    def metadata(self) -> sa.MetaData:
        return control if self is History.CONTROL else events

    @property
    def version_table(self) -> str:
        """One table each: on PostgreSQL both may live in one database."""
        return f"schema_{self.value}"


class DatabaseUnavailable(Exception):  # noqa: N818  # a state of the world
    """The database cannot be read or written now: locked too long, full, gone, or failing. Worth trying again."""


class SchemaTooNew(Exception):  # noqa: N818  # a state of the world
    """A later release has migrated this database beyond what this one can work with."""

    def __init__(self, history: History, found: str) -> None:
        super().__init__(
            f"the {history.value} database has schema {found}, newer than this release can use "
            f"(it knows {migrations.HEADS[history.value]}): run the newer release or restore a backup"
        )


class SchemaTooOld(Exception):  # noqa: N818  # a state of the world
    """The database was never migrated to this release's schema."""

    def __init__(self, history: History, found: str | None) -> None:
        super().__init__(
            f"the {history.value} database has schema {found or 'none'}, this release needs "
            f"{migrations.HEADS[history.value]}: run `sekisho db upgrade`"
        )


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
        with _translated(), self._writing.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a reading transaction: one consistent snapshot, no writes."""
        with _translated(), self._reading.connect() as connection:
            yield connection

    def watch(self) -> Watch:
        """Tell of commits by others; see Watch."""
        return Watch(self.path)

    def close(self) -> None:
        """Close idle connections; those in use close when returned. The object stays usable."""
        self._reading.dispose()


class Watch:
    """Whether anybody else committed to a SQLite file since the last question; costs microseconds.

    Belongs to one thread. ``changed`` and the constructor raise DatabaseUnavailable.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        with _translated():
            try:
                self._file = _identity(path)
                # Read-only by URI: a watcher must never create the file that it was to watch.
                self._connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
                )
            except OSError as error:
                raise DatabaseUnavailable(_gone(path)) from error
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self._seen: int | None = None

    def changed(self) -> bool:
        """Ask; the first question is always answered with yes."""
        with _translated():
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
        """Answer the next question with yes: what was learnt from the last one could not be used."""
        self._seen = None

    def close(self) -> None:
        self._connection.close()


def upgrade(database: Database, history: History) -> bool:
    """Bring the schema to this release's, or raise SchemaTooNew; whether there was anything to do.

    All of it is one transaction: two processes starting at once migrate once, and a crash leaves the old schema.
    """
    head = migrations.HEADS[history.value]
    with database.connect() as connection:
        if not _is_behind(history, _schema_of(connection, history), head):
            return False
    with database.begin() as tx:
        if not _is_behind(history, _schema_of(tx, history), head):
            return False
        # Imported only here: Alembic costs tens of milliseconds and several megabytes, and workers never migrate.
        from sekisho.migrations import run  # noqa: PLC0415

        run.upgrade(tx, history.value, history.metadata, history.version_table)
    return True


def check(database: Database, history: History) -> None:
    """Raise SchemaTooNew or SchemaTooOld unless this release can work with the schema as it is."""
    with database.connect() as connection:
        found = _schema_of(connection, history)
    if _is_behind(history, found, migrations.HEADS[history.value]):
        raise SchemaTooOld(history, found)


def _is_behind(history: History, found: str | None, head: str) -> bool:
    if found is None:
        return True
    try:
        there, here = _number(found), _number(head)
    except ValueError:
        raise SchemaTooNew(history, found) from None
    # Release N runs on the schemas of N and N+1, so that a fleet can be upgraded node by node.
    if there[0] > here[0] + 1:
        raise SchemaTooNew(history, found)
    return there < here


def _number(revision: str) -> tuple[int, int]:
    release, _, step = revision.partition(".")
    return int(release), int(step)


def _schema_of(connection: Connection, history: History) -> str | None:
    if not sa.inspect(connection).has_table(history.version_table):
        return None
    version = sa.table(history.version_table, sa.column("version_num", sa.String))
    found: str | None = connection.execute(sa.select(version.c.version_num)).scalar()
    return found


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
        # Only the owner may read it, whatever the umask; SQLite gives -wal and -shm the same mode.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

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


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        if error.connection_invalidated or _is_worlds_fault(error.orig):
            raise DatabaseUnavailable(str(error.orig)) from error
        raise
    except exc.TimeoutError as error:
        message = "all database connections are in use"
        raise DatabaseUnavailable(message) from error
    except sqlite3.Error as error:
        if _is_worlds_fault(error):
            raise DatabaseUnavailable(str(error)) from error
        raise


def _is_worlds_fault(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # extended: the primary code is its low byte
    return code is not None and code & 0xFF in _WORLDS_FAULT


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _gone(path: Path) -> str:
    return f"{path.name} cannot be found"
