from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa

import tests.fakes.control
from sekisho.db import Database, control
from tests.fakes.postgresql import Postgresql, session_of


def test_a_kept_database_comes_back_empty_under_another_name(postgresql: Postgresql) -> None:
    with postgresql.tables(control) as place:
        oid = _oid(postgresql, place.name)
        database = Database(place)
        with database.begin() as tx:
            first = tests.fakes.control.an_account(tx)
        database.close()
        left_open = session_of(place)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()
    with postgresql.tables(control) as again:
        assert again.name != place.name
        assert _oid(postgresql, again.name) == oid
        database = Database(again)
        with database.begin() as tx:
            for table in control.sorted_tables:
                assert not tx.scalar(sa.select(sa.exists().select_from(table))), table.name
            assert tests.fakes.control.an_account(tx) == first
        database.close()


def test_a_database_whose_tables_were_changed_is_not_used_again(postgresql: Postgresql) -> None:
    with postgresql.tables(control) as place:
        oid = _oid(postgresql, place.name)
        with session_of(place) as session:
            session.execute("ALTER TABLE account ADD COLUMN more integer")
    with postgresql.tables(control) as other:
        assert _oid(postgresql, other.name) != oid


def _oid(server: Postgresql, name: str) -> int:
    with server.administrator() as session:
        ((oid,),) = session.execute("SELECT oid FROM pg_database WHERE datname = %s", [name]).fetchall()
    return int(oid)
