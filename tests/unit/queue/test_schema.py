"""Spools of before: brought up to date with what they hold, or read as they are when that cannot be done."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sekisho.queue import recovery, schema
from sekisho.queue.layout import Layout
from sekisho.queue.model import Deferred, Delivered
from sekisho.queue.spool import Settlement

from .conftest import OpenSpool
from .support import NOW_MS, accepted, due, large_body, make, rows

_AS_IN_VERSION_1 = """
DROP INDEX delivery_due;
DROP TABLE shut_destination;
DROP TABLE shut;
DROP TABLE clock;
ALTER TABLE delivery DROP COLUMN size;
ALTER TABLE delivery DROP COLUMN faults;
CREATE INDEX delivery_due ON delivery (owner, held, destination, due_ms);
PRAGMA user_version=1;
"""


def objects(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"))


@pytest.fixture
async def old(open_spool: OpenSpool, tmp_path: Path) -> Path:
    """A spool of version 1 with two messages: one large with two recipients, one tried."""
    spool = open_spool()
    accepted(await spool.append(make("a@d.example", "b@d.example", **large_body(spool.incoming, spool.body_path))))
    (tried,) = accepted(await spool.append(make("c@d.example", body=b"12345")))
    await spool.settle(Settlement(tried, Deferred("451 later", NOW_MS, "4.0.0"), NOW_MS))
    await spool.close()
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as connection:
        connection.executescript(_AS_IN_VERSION_1)
    return tmp_path / "spool"


def test_what_is_called_version_1_here_is_version_1(old: Path) -> None:
    with closing(sqlite3.connect(old / "spool.db")) as found, closing(sqlite3.connect(":memory:")) as first:
        for statement in schema._STEPS[0]:
            first.execute(statement)
        assert objects(found) == objects(first)
        columns = "SELECT name FROM pragma_table_info('delivery')"
        assert found.execute(columns).fetchall() == first.execute(columns).fetchall()


async def test_everything_of_version_1_is_there_after_the_upgrade(old: Path, open_spool: OpenSpool) -> None:
    spool = open_spool()
    assert spool.report.recovered is None
    assert rows(old, "PRAGMA user_version") == [schema.VERSION]
    found = await due(spool, "d.example", NOW_MS, 10)
    assert sorted((each.recipient.address, each.attempts, each.faults) for each in found) == [
        ("a@d.example", 0, 0),
        ("b@d.example", 0, 0),
        ("c@d.example", 1, 0),
    ]
    by_row = {each.row: each for each in found}
    sizes = rows(old, "SELECT row, size FROM delivery")
    assert sizes == [(row, by_row[row].message.size_bytes) for row, _ in sizes]
    for each in found:
        assert await spool.settle(Settlement(each, Delivered("250"), NOW_MS))
    assert rows(old, "SELECT count(*) FROM message") == [0]


async def test_an_upgrade_that_was_interrupted_begins_anew(
    old: Path, open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_STEPS", (schema._STEPS[0], (*schema._STEPS[1], "SELECT nonsense FROM nowhere")))
    with closing(schema.connect(old / "spool.db")) as connection, pytest.raises(sqlite3.OperationalError):
        schema.upgrade(connection)
    assert rows(old, "PRAGMA user_version") == [1]
    monkeypatch.undo()
    assert len(await due(open_spool(), "d.example", NOW_MS, 10)) == 3


async def test_a_damaged_spool_that_cannot_be_upgraded_is_salvaged_all_the_same(
    old: Path, open_spool: OpenSpool
) -> None:
    with closing(sqlite3.connect(old / "spool.db")) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'delivery_due'").fetchone()
    with (old / "spool.db").open("r+b") as file:
        # An index that the upgrade would drop: it cannot.
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    layout = Layout(old)
    layout.suspect.write_text("found in operation\n")
    lock, report = recovery.enter(layout, NOW_MS)
    lock.close()
    assert report.recovered is not None
    assert (report.recovered.salvaged.deliveries, report.recovered.salvaged.lost_deliveries) == (3, 0)
    assert not report.recovered.salvaged.new_identity
    assert len(await due(open_spool(), "d.example", NOW_MS, 10)) == 3
