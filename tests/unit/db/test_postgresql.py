"""What only a server does: its deadlines, its rights, its encoding, and being cut off."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa

from sekisho.db import Database, DatabaseUnavailable, History, Postgres
from sekisho.db import postgresql as module
from sekisho.secret import Secret
from tests.fakes.databases import named, out_of_reach
from tests.fakes.postgresql import Postgresql, behind_a_proxy, session_of
from tests.fakes.tcpproxy import TcpProxy
from tests.unit.db.tables import METADATA, PARENT


@pytest.fixture
def place(postgresql: Postgresql) -> Iterator[Postgres]:
    with postgresql.database() as made:
        yield made


@pytest.fixture
def database(place: Postgres) -> Iterator[Database]:
    with closing(Database(place)) as made:
        with made.begin() as tx:
            METADATA.create_all(tx)
        yield made


@pytest.fixture
def cut_off(place: Postgres, database: Database) -> Iterator[tuple[TcpProxy, Database]]:
    """The same database behind a proxy."""
    del database  # has the tables
    with behind_a_proxy(place) as (proxy, reached), closing(Database(reached)) as made:
        yield proxy, made


def count(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(PARENT)).scalar_one()


def setting(connection: sa.Connection, name: str) -> str:
    return str(connection.execute(sa.select(sa.func.current_setting(name))).scalar_one())


# Bounds.


def test_every_session_has_its_bounds(database: Database) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    for transaction in (database.connect, database.begin):
        with transaction() as connection:
            assert [setting(connection, name) for name in names] == ["10s", "5s", "30s"]


def patience_s(connection: sa.Connection) -> float | None:
    session = connection.connection.driver_connection
    assert isinstance(session, module._Session)
    return session.answer_s


def test_a_migration_takes_its_time_and_leaves_the_bounds_behind(database: Database) -> None:
    with database.begin(unhurried=True) as tx:
        assert (setting(tx, "statement_timeout"), patience_s(tx)) == ("0", None)
    with database.begin() as tx:  # the same connection
        assert (setting(tx, "statement_timeout"), patience_s(tx)) == ("10s", module.ANSWER_S)


def test_a_statement_that_takes_too_long_is_unavailability(place: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SESSION", module._SESSION.replace("10s", "50ms"))
    with closing(Database(place)) as database:
        with pytest.raises(DatabaseUnavailable, match="statement timeout"), database.connect() as connection:
            connection.execute(sa.select(sa.func.pg_sleep(10)))
        with database.connect() as connection:
            assert setting(connection, "statement_timeout") == "50ms"


def test_a_turn_that_does_not_come_is_unavailability(
    database: Database, place: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SESSION", module._SESSION.replace("'5s'", "'50ms'"))
    with closing(Database(place)) as impatient:
        with database.begin(), pytest.raises(DatabaseUnavailable, match="lock timeout"), impatient.begin():
            pass
        with impatient.begin():
            pass


def test_histories_take_turns_of_their_own_and_readers_none(database: Database, place: Postgres) -> None:
    with closing(Database(place.of(History.EVENTS))) as events, database.begin() as tx, events.begin():
        tx.execute(sa.insert(PARENT))
        assert count(database) == 0


def test_a_commit_that_returned_is_on_disk_whatever_the_servers_habit(place: Postgres) -> None:
    with session_of(place) as session:
        session.execute(f"ALTER DATABASE {place.name} SET synchronous_commit = off".encode())
    with closing(Database(place)) as database, database.begin() as tx:
        assert setting(tx, "synchronous_commit") == "on"
    with session_of(place) as session:
        session.execute(f"ALTER DATABASE {place.name} SET synchronous_commit = remote_write".encode())
    with closing(Database(place)) as database, database.begin() as tx:
        assert setting(tx, "synchronous_commit") == "remote_write"


def test_what_a_transaction_sees_does_not_depend_on_the_servers_habits(place: Postgres, database: Database) -> None:
    with session_of(place) as session:
        session.execute(f"ALTER DATABASE {place.name} SET default_transaction_isolation = serializable".encode())
        session.execute(f"ALTER DATABASE {place.name} SET default_transaction_read_only = on".encode())
    with closing(Database(place)) as other:
        for _ in range(2):
            with other.begin() as tx:
                assert setting(tx, "transaction_isolation") == "read committed"
                tx.execute(sa.insert(PARENT))
            with other.connect() as connection:
                assert setting(connection, "transaction_isolation") == "repeatable read"
    assert count(database) == 2


# The server's own troubles.


def test_another_encoding_is_refused(postgresql: Postgresql) -> None:
    with (
        postgresql.database("LATIN1") as place,
        closing(Database(place)) as database,
        pytest.raises(DatabaseUnavailable, match="LATIN1, and must be UTF8"),
    ):
        count(database)


def test_rights_that_were_not_granted_are_unavailability(place: Postgres, database: Database) -> None:
    role = f"{place.name}_reader"
    with session_of(place) as session:
        session.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            denied = pytest.raises(DatabaseUnavailable, match="permission denied for table parent")
            with closing(Database(replace(place, user=role))) as stranger, denied:
                count(stranger)
        finally:
            session.execute(f"DROP ROLE {role}".encode())
    assert count(database) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "nobody-of-that-name"},
        {"name": "no_such_database"},
        {"hosts": ("/nowhere",), "ports": ("",)},
        {"hosts": ("127.0.0.1",), "ports": ("1",)},
        {"options": (("sslmode", "verify-full"), ("sslrootcert", "/nowhere"))},
    ],
)
def test_a_login_that_fails_is_unavailability_and_shows_no_password(place: Postgres, wrong: dict[str, object]) -> None:
    there = replace(place, password=Secret("s3cret"), hosts=("127.0.0.1",) if "options" in wrong else place.hosts)
    with closing(Database(replace(there, **wrong))) as database:  # type: ignore[arg-type]
        with pytest.raises(DatabaseUnavailable) as caught:
            count(database)
        assert "s3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(DatabaseUnavailable):
            database.watch()


def test_a_row_that_breaks_a_rule_is_not_quoted(database: Database) -> None:
    with database.begin() as tx:
        tx.exec_driver_sql("CREATE TABLE secret (a TEXT, b INTEGER NOT NULL)")
    with pytest.raises(sa.exc.IntegrityError) as caught, database.begin() as tx:
        tx.exec_driver_sql("INSERT INTO secret VALUES (%s, NULL)", ("s3cret",))
    assert "s3cret" not in f"{caught.value} {caught.value.orig!r}"


def test_a_restart_of_the_server_costs_nobody_an_error(place: Postgres, database: Database) -> None:
    """What was pooled is dead; the next to want a connection gets a new one."""
    assert count(database) == 0
    with session_of(replace(place, name="postgres")) as session:
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [place.name])
    assert count(database) == 0


# The way there.


def test_a_server_that_falls_silent_is_given_up(
    cut_off: tuple[TcpProxy, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, database = cut_off
    assert count(database) == 0
    proxy.mute()
    with monkeypatch.context() as impatient:
        impatient.setattr(module._Session, "answer_s", 0.2)
        impatient.setattr(module, "CONNECT_S", 2)  # the library's least
        with pytest.raises(DatabaseUnavailable):
            count(database)
        with pytest.raises(DatabaseUnavailable):
            database.watch()
    proxy.restore()
    assert count(database) == 0


def test_a_server_that_falls_silent_in_a_transaction_is_given_up(
    cut_off: tuple[TcpProxy, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, database = cut_off

    def lose_it(impatient: pytest.MonkeyPatch) -> None:
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))
            proxy.mute()
            impatient.setattr(module._Session, "answer_s", 0.2)
            tx.execute(sa.insert(PARENT))

    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable, match="did not answer"):
        lose_it(patch)
    proxy.restore()
    assert count(database) == 0


def test_a_connection_cut_in_a_transaction_is_unavailability(cut_off: tuple[TcpProxy, Database]) -> None:
    proxy, database = cut_off

    def lose_it() -> None:
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))
            proxy.cut()
            tx.execute(sa.insert(PARENT))

    with pytest.raises(DatabaseUnavailable):
        lose_it()
    with pytest.raises(DatabaseUnavailable):
        count(database)
    proxy.restore()
    assert count(database) == 0


def test_a_watch_that_lost_its_server_says_so(cut_off: tuple[TcpProxy, Database]) -> None:
    proxy, database = cut_off
    with closing(database.watch()) as watch:
        watch.wait(threading.Event(), 0.01)
        proxy.cut()
        with pytest.raises(DatabaseUnavailable):
            watch.wait(threading.Event(), 60)


def test_a_watch_is_woken_by_its_own_history_only(database: Database, place: Postgres) -> None:
    heard = threading.Event()
    with closing(database.watch()) as watch, closing(Database(place.of(History.EVENTS))) as events:

        def listen() -> None:
            watch.wait(threading.Event(), 60)
            heard.set()

        listener = threading.Thread(target=listen)
        listener.start()
        with events.begin() as tx:
            tx.execute(sa.insert(PARENT))
        with events.connect():
            assert not heard.wait(0.1)
        with database.begin():
            pass
        listener.join(30)
        assert heard.is_set()


def test_a_process_that_dies_in_its_turn_gives_it_back(database: Database) -> None:
    program = (
        "import sys; from tests.fakes.databases import opened\n"
        "with opened(sys.argv[1]).begin():\n"
        "    print('mine', flush=True); sys.stdin.read(1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, named(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        other.kill()
        with database.begin() as tx:
            tx.execute(sa.insert(PARENT))
    assert count(database) == 1


def test_sessions_can_be_told_apart_on_the_server(database: Database, place: Postgres) -> None:
    with database.connect() as connection:
        connection.execute(sa.select(1))
        with session_of(place) as session:
            asked = "SELECT application_name FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            assert {row[0] for row in session.execute(asked, [place.name])} == {"sekisho"}


def test_the_fake_outage_is_one(database: Database) -> None:
    with out_of_reach(database), pytest.raises(psycopg.OperationalError):
        session_of(database.place)  # type: ignore[arg-type]
