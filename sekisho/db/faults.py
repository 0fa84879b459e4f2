"""Which errors are the storage's and not the statement's: translated once, here."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from sqlalchemy import exc

# Primary result codes of SQLite that say "the storage is in the way", not "the statement is wrong".
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

# The same of PostgreSQL, by the beginning of SQLSTATE (its manual's appendix A).
_WORLDS_STATES: Final = (
    "08",  # the connection
    "25006",  # a server that only reads: a stand-by, before or after it was promoted
    "25P03", "25P04",  # a transaction that was left open for too long
    "28",  # the login
    "3D000",  # no such database
    "40",  # serialisation, deadlock, a commit whose end nobody knows
    "42501",  # rights that were not granted
    "53",  # memory, disk, connections
    "55P03",  # a lock held too long
    "57",  # shut down, starting, told to stop: by an operator or by statement_timeout
    "58",  # the system's errors, such as of input and output
    "F0",  # its configuration
    "XX",  # itself: corrupted, or a bug
)  # fmt: skip


class DatabaseUnavailable(Exception):
    """The database cannot be read or written now: locked too long, full, gone, or failing. Worth trying again."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise DatabaseUnavailable for the world's faults; let everything else through as it is."""
    try:
        yield
    except exc.DBAPIError as error:
        if error.connection_invalidated or _is_worlds_fault(error.orig):
            raise DatabaseUnavailable(_one_line(error.orig)) from error
        raise
    except exc.TimeoutError as error:
        message = "all database connections are in use"
        raise DatabaseUnavailable(message) from error
    except Exception as error:
        if _is_worlds_fault(error):
            raise DatabaseUnavailable(_one_line(error)) from error
        raise


def _is_worlds_fault(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # extended: the primary code is its low byte
    if code is not None:
        return code & 0xFF in _WORLDS_FAULT
    if not type(error).__module__.startswith("psycopg"):
        return False
    from psycopg import Error, InterfaceError, OperationalError  # noqa: PLC0415  # loaded: one of its errors is here

    if not isinstance(error, Error):
        return False
    if error.sqlstate is None:
        # Said by the client and not by a server: no connection, or none any more.
        return isinstance(error, OperationalError | InterfaceError)
    return error.sqlstate.startswith(_WORLDS_STATES)


def _one_line(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        # The index of the log in shared memory could not grow: a full disk, which SQLite calls an I/O error.
        return "database or disk is full"
    if code is not None and code & 0xFF == sqlite3.SQLITE_IOERR:
        # "disk I/O error" alone leaves people without a hint of what failed.
        return f"{text} ({getattr(error, 'sqlite_errorname', code)})"
    return text
