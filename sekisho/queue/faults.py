"""What a failing SQLite means for the spool: the world's trouble, broken storage, or a mistake of ours."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from sekisho.queue.layout import Layout, sync_directory
from sekisho.queue.locks import LockTimeoutError

EXIT_SUSPECT = 74
"""EX_IOERR of sysexits.h: storage failed; the next start recovers."""


class Fault(enum.Enum):
    """What is to be done about an error."""

    FULL = enum.auto()
    """No room: refuse what is new, keep what must be settled, go on when there is room."""
    UNAVAILABLE = enum.auto()
    """Somebody else is in the way, or the file may not be written: the same, under another name."""
    SUSPECT = enum.auto()
    """Storage failed or lies damaged: nothing more may be acknowledged by this process."""
    OURS = enum.auto()
    """A statement or a value that SQLite does not take."""


NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a file system says when there is no room, for anybody or for us."""

_PROBE_BYTES: Final = 1 << 16

_FULL = {sqlite3.SQLITE_FULL}
_SUSPECT = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


def fault_of(error: BaseException) -> Fault:
    """Classify what a transaction raised."""
    if isinstance(error, LockTimeoutError):
        return Fault.UNAVAILABLE
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or code is None:
        return Fault.OURS
    # The index of the log in shared memory could not grow: a full disk, met in an odd place.
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return Fault.FULL
    primary = code & 0xFF
    if primary in _FULL:
        return Fault.FULL
    if primary in _SUSPECT:
        return Fault.SUSPECT
    if primary in _UNAVAILABLE:
        return Fault.UNAVAILABLE
    return Fault.OURS


def is_quota(error: BaseException, directory: Path) -> bool:
    """Tell a used-up quota from a failing disk: SQLite calls both an I/O error, and only ENOSPC full.

    Asked after a failed *write* alone. What a failed write was to store is not in the log, and SQLite rolls it back as
    it does when the disk is full; a failed sync stays what it is.
    """
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_IOERR_WRITE:
        return False
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as refusal:
        return refusal.errno in NO_ROOM
    return False


def mark_suspect(layout: Layout, why: str) -> None:
    """Leave the marker that keeps every process from writing until the spool was recovered.

    Whoever calls this ends the process next, whether the marker could be written or not: after a failed sync the
    kernel counts the lost pages as clean, and SQLite would acknowledge later commits on top of them.
    """
    with contextlib.suppress(OSError):
        _write_marker(layout.suspect, why)
        sync_directory(layout.root)


def _write_marker(path: Path, why: str) -> None:
    with path.open("a", encoding="utf-8") as marker:
        marker.write(why + "\n")
        marker.flush()
