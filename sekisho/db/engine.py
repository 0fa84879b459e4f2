"""Connections and transactions on either engine: a file, or a database on a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy.engine import Connection, Engine

from sekisho.db import sqlite
from sekisho.db.faults import translated
from sekisho.db.url import Postgres
from sekisho.db.watch import Watch


class Database:
    """Short transactions on one database, from any thread of one process.

    Raises DatabaseUnavailable from both context managers when the storage is in the way; errors of a statement itself
    (constraints, syntax) come through as SQLAlchemy's.
    """

    def __init__(self, place: Path | Postgres) -> None:
        """Name a SQLite file or a PostgreSQL database. Nothing is opened before the first use."""
        self.place: Final = place
        self._reading: Engine
        self._writing: Engine
        # The same pool twice; options tell the begin event of the engine that a transaction is going to write.
        if isinstance(place, Path):
            self._reading = sqlite.open_engine(place)
            self._writing = self._reading.execution_options(sekisho_writes=True)
        else:
            # Only where it is used: the client library is megabytes in each process.
            from sekisho.db import postgresql  # noqa: PLC0415

            engine = postgresql.open_engine(place)
            self._reading, self._writing = postgresql.reading(engine), postgresql.writing(engine)

    @property
    def is_shared(self) -> bool:
        """Whether other machines may use it, and with another release."""
        return isinstance(self.place, Postgres)

    @contextlib.contextmanager
    def begin(self, *, unhurried: bool = False) -> Iterator[Connection]:
        """Open a writing transaction: committed (and synced) at the end, rolled back on an exception.

        It holds the database's one turn for writers from its first line, so that what it reads stays true until it
        commits. ``unhurried`` lifts what bounds the time of a statement on a server: for migrations.
        """
        engine = self._writing.execution_options(sekisho_unhurried=True) if unhurried else self._writing
        with translated(), engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a reading transaction: one consistent snapshot, no writes."""
        with translated(), self._reading.connect() as connection:
            yield connection

    def watch(self) -> Watch:
        """Tell of commits by others; see Watch."""
        if isinstance(self.place, Path):
            return sqlite.FileWatch(self.place)
        from sekisho.db import postgresql  # noqa: PLC0415  # loaded by now

        return postgresql.ServerWatch(self.place)

    def close(self) -> None:
        """Close idle connections; those in use close when returned. The object stays usable."""
        self._reading.dispose()
