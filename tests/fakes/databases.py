"""The two engines behind one word, for tests that run on both."""

from __future__ import annotations

import contextlib
import enum
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlencode

import sqlalchemy as sa

from sekisho.db import Database, History, Postgres, parse_postgres
from tests.fakes.postgresql import session_of


class Engine(enum.StrEnum):
    """Where a test's database is."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class NewDatabase(Protocol):
    """Makes an empty database of a test's own; closed and gone after the test."""

    def __call__(self, history: History = History.CONTROL) -> Database: ...


class FurnishedDatabase(Protocol):
    """Gives a database with empty tables, a test's own; those of the history, where none are named."""

    def __call__(self, history: History = History.CONTROL, metadata: sa.MetaData | None = None) -> Database: ...


_prepared: Final[dict[sa.MetaData, tuple[frozenset[str], bytes]]] = {}


def copy_of_tables(metadata: sa.MetaData, path: Path) -> Path:
    """Write the file that a Database would have after ``create_all``."""
    names, content = _prepared.get(metadata, (frozenset(), b""))
    if names != metadata.tables.keys():  # modules that were imported since have brought more tables
        with tempfile.TemporaryDirectory() as folder:
            made = Database(Path(folder, "made.db"))
            with made.begin() as tx:
                metadata.create_all(tx)
            made.close()
            content = Path(folder, "made.db").read_bytes()
        _prepared[metadata] = frozenset(metadata.tables), content
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)
    return path


def named(database: Database) -> str:
    """How ``opened``, in another process, calls this database."""
    place = database.place
    return str(place) if isinstance(place, Path) else url(place)


def url(place: Postgres) -> str:
    """Write what ``parse_postgres`` reads."""
    password = "" if place.password is None else ":" + quote(place.password.reveal(), safe="")
    hosts = ",".join(
        quote(host, safe="") + (f":{port}" if port else "") for host, port in zip(place.hosts, place.ports, strict=True)
    )
    options = urlencode(place.options)
    return f"postgresql://{quote(place.user, safe='')}{password}@{hosts}/{place.name}" + f"?{options}" * bool(options)


def opened(name: str, history: History = History.CONTROL) -> Database:
    """Open what another process has ``named``."""
    return Database(parse_postgres(name).of(history) if "://" in name else Path(name))


@contextlib.contextmanager
def out_of_reach(database: Database) -> Iterator[None]:
    """Make a database unusable for everybody, and usable again."""
    place = database.place
    if isinstance(place, Path):
        away = place.with_suffix(".away")
        database.close()
        place.rename(away)
        place.mkdir()
        try:
            yield
        finally:
            place.rmdir()
            away.rename(place)
        return
    with session_of(replace(place, name="postgres")) as session:
        session.execute(f"ALTER DATABASE {place.name} ALLOW_CONNECTIONS false".encode())
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [place.name])
        try:
            yield
        finally:
            session.execute(f"ALTER DATABASE {place.name} ALLOW_CONNECTIONS true".encode())
