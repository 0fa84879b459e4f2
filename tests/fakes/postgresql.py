"""A PostgreSQL server for tests: $SEKISHO_TEST_POSTGRESQL, or a private one that ends with this process."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, LiteralString

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from sekisho.db import Database, Postgres, parse_postgres
from tests.fakes.tcpproxy import TcpProxy

URL_VARIABLE: Final = "SEKISHO_TEST_POSTGRESQL"
"""postgresql://… of a server on which databases may be made."""

_START_S: Final = 60

# The server is a child of this shell, which ends it when the tests' end of its standard input is closed: also when
# they are killed.
_KEEPER: Final = 'd=$1; shift; "$@" </dev/null & p=$!; read -r _; kill -INT $p; wait $p; rm -rf "$d"'

_SETTINGS: Final = {
    "listen_addresses": "",  # a socket in a directory of its own: no port to race for
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
    "jit": "off",
    "logging_collector": "off",
}


# What a test may have changed of the tables themselves.
_SHAPE: Final = """SELECT md5(string_agg(what, ' ' ORDER BY what)) FROM (
    SELECT concat_ws(',', c.oid, relname, relkind, attname, atttypid, attnotnull, atthasdef)
    FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(',', oid, conname) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(',', oid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(',', oid, proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
) AS shape (what)"""

_REWIND: Final = """SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL"""


@dataclass(slots=True)
class _Kept:
    """A database with tables that serves one test after the other."""

    name: str
    tables: tuple[str, ...]  # in an order in which they can be emptied
    shape: str


class Postgresql:
    """A running server. Databases are made for each test, and numbered."""

    def __init__(self, server: Postgres) -> None:
        self._server: Final = server
        self._numbers: Final = itertools.count(1)
        self._kept: Final[dict[sa.MetaData, list[_Kept]]] = {}

    @contextlib.contextmanager
    def database(self, encoding: str = "UTF8") -> Iterator[Postgres]:
        """An own database, gone afterwards with whoever is connected to it."""
        with self.administrator() as session:
            name = self._create(session, encoding)
            try:
                yield replace(self._server, name=name)
            finally:
                _drop(session, name)

    @contextlib.contextmanager
    def tables(self, metadata: sa.MetaData) -> Iterator[Postgres]:
        """A database with these tables, all empty: as ``database``, but made once and not for each test.

        No test can tell: the name is new, whoever was connected is not any more, rows are gone and numbers start anew.
        Where a test changed the tables themselves, the database is not used again.
        """
        with self.administrator() as session:
            free = self._kept.setdefault(metadata, [])
            kept = free.pop() if free else None
            # Modules that were imported since have brought more tables.
            if kept and set(kept.tables) != set(metadata.tables):
                _drop(session, kept.name)
                kept = None
            kept = kept or self._furnish(session, metadata)
            try:
                yield replace(self._server, name=kept.name)
            finally:
                if self._empty(session, kept):
                    free.append(kept)
                else:
                    _drop(session, kept.name)

    def close(self) -> None:
        """Remove what was kept."""
        with self.administrator() as session:
            for kept in itertools.chain.from_iterable(self._kept.values()):
                _drop(session, kept.name)
        self._kept.clear()

    @contextlib.contextmanager
    def administrator(self) -> Iterator[psycopg.Connection]:
        with session_of(self._server) as session:
            yield session

    def _new_name(self) -> str:
        return f"sekisho_{os.getpid()}_{next(self._numbers)}"

    def _create(self, session: psycopg.Connection, encoding: str) -> str:
        name = self._new_name()
        shape = f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C' STRATEGY FILE_COPY"
        session.execute(f"CREATE DATABASE {name} {shape}".encode())
        return name

    def _furnish(self, session: psycopg.Connection, metadata: sa.MetaData) -> _Kept:
        name = self._create(session, "UTF8")
        place = replace(self._server, name=name)
        database = Database(place)
        with database.begin() as tx:
            metadata.create_all(tx)
        database.close()
        with session_of(place) as own:
            shape = _value(own, _SHAPE)
        return _Kept(name, tuple(table.name for table in reversed(metadata.sorted_tables)), shape)

    def _empty(self, session: psycopg.Connection, kept: _Kept) -> bool:
        """Make it as it was, under a new name; False: it cannot be."""
        session.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [kept.name])
        name = self._new_name()
        try:
            session.execute(f"ALTER DATABASE {kept.name} RENAME TO {name}".encode())
            kept.name = name
            with session_of(replace(self._server, name=name)) as own:
                if _value(own, _SHAPE) != kept.shape:
                    return False
                # Emptying a table that is empty costs as much as making it would.
                asked = " UNION ALL ".join(
                    f'SELECT {number} WHERE EXISTS (SELECT FROM "{table}")'  # noqa: S608  # a name of ours
                    for number, table in enumerate(kept.tables)
                )
                for (number,) in own.execute(f"{asked} ORDER BY 1".encode()).fetchall():
                    own.execute(f'DELETE FROM "{kept.tables[number]}"'.encode())  # noqa: S608  # a name of ours
                own.execute(_REWIND)
        except psycopg.Error:
            return False
        return True


def _drop(session: psycopg.Connection, name: str) -> None:
    session.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _value(session: psycopg.Connection, statement: LiteralString) -> str:
    ((value,),) = session.execute(statement).fetchall()
    return str(value)


def session_of(place: Postgres) -> psycopg.Connection:
    """Connect without any of the product's own bounds."""
    return psycopg.connect(make_conninfo("", **place.parameters()), autocommit=True)


@contextlib.contextmanager
def behind_a_proxy(place: Postgres) -> Iterator[tuple[TcpProxy, Postgres]]:
    """The same database as one reached over TCP, with a way to cut it off."""
    host, port = place.hosts[0], place.ports[0] or "5432"
    target = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))
    with TcpProxy(target) as proxy:
        yield proxy, replace(place, hosts=("127.0.0.1",), ports=(str(proxy.port),))


@contextlib.contextmanager
def private_server() -> Iterator[Postgres]:
    """Start one in a temporary directory; skips the test where PostgreSQL is not installed."""
    programs = _programs()
    # Not pytest's directory: the server's user must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="sekisho-pg-"))
    user = _become_able(folder)
    done = subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
         "--no-sync", "--no-instructions"],
        user=user, cwd="/", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    command = [str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    command += [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            ["sh", "-c", _KEEPER, "sh", str(folder), *command],
            user=user, cwd="/", stdin=subprocess.PIPE, stdout=log, stderr=log,
        ) as keeper,
    ):  # fmt: skip
        try:
            server = parse_postgres(f"postgresql://postgres@/postgres?host={folder}")
            _wait(server, keeper, folder / "log")
            yield server
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()
            keeper.wait(60)
    shutil.rmtree(folder, ignore_errors=True)  # its user could empty it, but not remove it


@contextlib.contextmanager
def some_server() -> Iterator[Postgresql]:
    """Give the server that tests share in this process."""
    with contextlib.ExitStack() as undo:
        url = os.environ.get(URL_VARIABLE)
        shared = Postgresql(parse_postgres(url) if url else undo.enter_context(private_server()))
        undo.callback(shared.close)
        yield shared


def _wait(server: Postgres, keeper: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            session_of(server).close()
        except psycopg.OperationalError:
            assert keeper.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        else:
            return


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if named := shutil.which("postgres"):
        return Path(named).parent
    message = f"PostgreSQL is not installed, and {URL_VARIABLE} is not set"
    if os.environ.get("JUDGES") == "required":
        raise FileNotFoundError(message)
    pytest.skip(message)


def _become_able(folder: Path) -> int | None:
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return user.pw_uid
