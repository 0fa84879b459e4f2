"""What is particular to PostgreSQL: sessions with deadlines, one writer at a time, and news of commits.

Everything that other engines of its dialect may not have stands here: advisory locks, LISTEN and NOTIFY, and the
settings of a session. Tables and statements elsewhere are plain SQL.

The client library is imported with this module, and this module only where a server is configured.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from sekisho.db.faults import translated
from sekisho.db.history import History
from sekisho.db.url import Postgres

T = TypeVar("T")

CONNECT_S: Final = 5
"""For each address of each host."""

STATEMENT_S: Final = 10
"""The server ends a longer statement, but for migrations."""

LOCK_S: Final = 5
"""How long a writer waits for its turn before it is DatabaseUnavailable; as long as on SQLite."""

ANSWER_S: Final = 15
"""The client gives a connection up that says nothing for so long: its other end may be gone without a word."""

_MIGRATION_LOCK_S: Final = 600
"""How long a second `db upgrade` waits for the first."""

_IDLE_S: Final = 30
"""The server ends a transaction whose client does nothing in it for so long: everybody else waits for its turn."""

_POOL_SIZE: Final = 2
_POOL_OVERFLOW: Final = 18
"""More than a process has threads that write: those hold a connection each while they wait for their turn, and whoever
only reads, to log in for one, must find another."""
_POOL_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.5
_GATHER_S: Final = 0.02
"""Commits come in crowds: one look after so long serves all."""

_LOCK_SPACE: Final = 0x53454B49
"""The first number of our advisory locks, so that others may use some of their own in this database; "SEKI"."""

_TURNS: Final = {History.CONTROL: 1, History.EVENTS: 2}

# By statement and not by start-up options, which some poolers do not pass on. A commit that returned must be on disk:
# the one setting of a server, database or role that would break this is not taken over.
_SESSION: Final = f"""SELECT current_setting('server_encoding'),
    set_config('statement_timeout', '{STATEMENT_S}s', false),
    set_config('lock_timeout', '{LOCK_S}s', false),
    set_config('idle_in_transaction_session_timeout', '{_IDLE_S}s', false),
    set_config('tcp_keepalives_idle', '30', false),
    set_config('tcp_keepalives_interval', '10', false),
    set_config('tcp_keepalives_count', '3', false),
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""

_UNHURRIED: Final = f"""SELECT
    set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true),
    set_config('lock_timeout', '{_MIGRATION_LOCK_S}s', true)
"""


class _Session(psycopg.Connection[Any]):
    """A connection that gives up a server which says nothing, and tells errors without the values in them."""

    answer_s: float | None = ANSWER_S
    """None: for as long as it takes."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except errors._WaitTimeout:  # noqa: SLF001  # what the method that is replaced here promises to raise
            if timeout is not None:
                raise
            self.pgconn.finish()  # an answer that comes after all would be taken for that of the next question
            message = f"the database server did not answer within {self.answer_s} s"
            raise psycopg.OperationalError(message) from None
        except psycopg.Error as error:
            # The rest of the text (DETAIL) quotes rows, and errors end up in logs: digests, sealed keys, addresses.
            if error.diag.message_primary:
                error.args = (error.diag.message_primary,)
            raise


def connect(server: Postgres, *, autocommit: bool = False) -> psycopg.Connection[Any]:
    """Open a session with all its bounds; raises psycopg.Error."""
    session = _Session.connect(
        make_conninfo("", **server.parameters()),
        autocommit=True,
        connect_timeout=CONNECT_S,
        # What the kernel would otherwise wait for hours for.
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=ANSWER_S * 1000,
        client_encoding="utf8",
        application_name="sekisho",
    )
    try:
        _settle(session, server)
        session.autocommit = autocommit
    except BaseException:
        session.close()
        raise
    return session


def _settle(session: _Session, server: Postgres) -> None:
    ((encoding, *_),) = session.execute(_SESSION).fetchall()
    if encoding != "UTF8":
        message = f"{server}: its encoding is {encoding}, and must be UTF8"
        raise psycopg.OperationalError(message)


def open_engine(server: Postgres) -> Engine:
    """Make the engine; its options ``sekisho_writes`` and ``sekisho_unhurried`` say how a transaction begins."""
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(server),
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=_POOL_TIMEOUT_S,
        pool_pre_ping=True,  # after a restart of the server, what was pooled is dead
        hide_parameters=True,  # statements carry digests and sealed keys, and errors end up in logs
        use_native_hstore=False,
        # One snapshot for all that a reader reads.
        isolation_level="REPEATABLE READ",
    )
    turn = _TURNS[server.history]
    # One writing transaction at a time for each history, as on SQLite: what it reads stays true until it commits, so
    # decisions need no second try (SERIALIZABLE would, and the callers' work cannot be done twice), and numbers given
    # out in order are seen in order, which readers of the feed and of the event store rely on. The lock ends after the
    # commit is visible. READ COMMITTED, because a snapshot taken before the turn came would be too old. The
    # notification goes out with the commit.
    take_turn = f"SELECT pg_advisory_xact_lock({_LOCK_SPACE}, {turn}), pg_notify('{_channel(server)}', '')"

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("sekisho_unhurried"):
            connection.connection.driver_connection.answer_s = None  # type: ignore[union-attr]  # a _Session
            connection.exec_driver_sql(_UNHURRIED)
        if options.get("sekisho_writes"):
            connection.exec_driver_sql(take_turn)

    @event.listens_for(engine, "checkin")
    def _hurry_again(session: Any, _record: Any) -> None:
        if session is not None:
            vars(session).pop("answer_s", None)

    return engine


def reading(engine: Engine) -> Engine:
    return engine.execution_options(postgresql_readonly=True)


def writing(engine: Engine) -> Engine:
    return engine.execution_options(sekisho_writes=True, isolation_level="READ COMMITTED", postgresql_readonly=False)


class ServerWatch:
    """A Watch of a server: its notifications only wake, a look into the tables decides.

    So the answer is always yes; whoever asks looks, and that look tells too whether the server can be reached.
    """

    def __init__(self, server: Postgres) -> None:
        with translated():
            self._session: Final = connect(server, autocommit=True)
            self._session.execute(f"LISTEN {_channel(server)}")

    @staticmethod
    def changed() -> bool:
        return True

    def forget(self) -> None:
        """Nothing was remembered."""

    def wait(self, stopping: threading.Event, poll_s: float | None = None) -> None:
        with translated():
            for _ in self._session.notifies(timeout=_POLL_S if poll_s is None else poll_s, stop_after=1):
                stopping.wait(_GATHER_S)

    def close(self) -> None:
        self._session.close()


def _channel(server: Postgres) -> str:
    return f"sekisho_{server.history.value}"
