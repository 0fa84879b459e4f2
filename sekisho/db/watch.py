"""Whether somebody else has committed: what a poller asks several times a second."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from sekisho.db.faults import DatabaseUnavailable, translated

_BUSY_TIMEOUT_MS: Final = 1000


class Watch:
    """Whether anybody else committed to a SQLite file since the last question; costs microseconds.

    Belongs to one thread. ``changed`` and the constructor raise DatabaseUnavailable.
    """

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
            self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        self._seen: int | None = None

    def changed(self) -> bool:
        """Ask; the first question is always answered with yes."""
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
        """Answer the next question with yes: what was learnt from the last one could not be used."""
        self._seen = None

    def close(self) -> None:
        self._connection.close()


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _gone(path: Path) -> str:
    return f"{path.name} cannot be found"
