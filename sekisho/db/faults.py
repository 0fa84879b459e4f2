"""Which errors are the storage's and not the statement's: translated once, here."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from sqlalchemy import exc

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


class DatabaseUnavailable(Exception):
    """The database cannot be read or written now: locked too long, full, gone, or failing. Worth trying again."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise DatabaseUnavailable for the world's faults; let everything else through as it is."""
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
