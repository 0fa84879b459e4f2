"""Spools of before: brought up to date with what they hold, or read as they are when that cannot be done.

What they were is frozen in ``tests/vectors/spool``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sekisho.ids import parse_message_id
from sekisho.queue import recovery, schema
from sekisho.queue.layout import Layout
from sekisho.queue.model import Delivered, Delivery
from sekisho.queue.operator import Operator
from sekisho.queue.selection import Selection
from sekisho.queue.spool import Settlement

from .conftest import OpenSpool
from .support import NOW_MS, FakeClock, due, encode, rows

VECTORS = Path(__file__).parents[2] / "vectors" / "spool"
VERSIONS = (1, 2)
LARGE = b"large\r\n" * 1000
LARGE_FILE = "AaMYXFAAAAcAAAAAAAAAAw.body"
LATER_MS = NOW_MS + 600_000
"""When all that was deferred is due."""


def thawed(directory: Path, version: int) -> Path:
    """Make a spool of that version as its dump tells."""
    layout = Layout(directory)
    layout.create()
    (layout.bodies / LARGE_FILE).write_bytes(LARGE)
    with closing(sqlite3.connect(layout.database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.executescript((VECTORS / f"version-{version}.sql").read_text())
    assert rows(directory, "PRAGMA user_version") == [version]
    return directory


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def old(version: int, tmp_path: Path) -> Path:
    return thawed(tmp_path / "spool", version)


def content(directory: Path) -> dict[str, list[Any]]:
    """All rows of all tables of a version, in the columns that it had."""
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
        ]
        return {name: columns_of(connection, name) for name in names}


def columns_of(connection: sqlite3.Connection, table: str, columns: Sequence[str] = ()) -> list[Any]:
    """A table's rows with the names of their columns first."""
    if not columns:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    listed = ", ".join(f'"{name}"' for name in columns)
    return [tuple(columns), *sorted(connection.execute(f"SELECT {listed} FROM {table}"), key=repr)]  # noqa: S608  # our own names


async def every(spool: Any) -> dict[str, Delivery]:
    """Everything that is due, by address."""
    found = [each for letter in "abcdefgh" for each in await due(spool, f"{letter}.example", LATER_MS, 100)]
    return {each.recipient.address: each for each in found}


def test_the_newest_version_is_the_one_after_those_frozen() -> None:
    assert (*VERSIONS, schema.VERSION) == tuple(range(1, schema.VERSION + 1))
    assert len(list(VECTORS.glob("*.sql"))) == len(VERSIONS)


def test_an_upgrade_changes_no_row_that_was_there(old: Path) -> None:
    before = content(old)
    lock, report = recovery.enter(Layout(old), NOW_MS)
    lock.close()
    assert report == recovery.Report()
    assert rows(old, "PRAGMA user_version") == [schema.VERSION]
    with closing(sqlite3.connect(old / "spool.db")) as connection:
        for table, was in before.items():
            assert columns_of(connection, table, was[0]) == was


def test_an_upgraded_spool_is_built_as_a_new_one(old: Path, tmp_path: Path) -> None:
    schema.create(tmp_path / "new.db", NOW_MS)
    with closing(schema.connect(old / "spool.db")) as upgraded, closing(schema.connect(tmp_path / "new.db")) as new:
        schema.upgrade(upgraded)
        objects = "SELECT type, name FROM sqlite_master ORDER BY type, name"
        assert upgraded.execute(objects).fetchall() == new.execute(objects).fetchall()
        for _, table in new.execute("SELECT type, name FROM sqlite_master WHERE type = 'table'"):
            columns = f"SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info('{table}')"  # noqa: S608
            assert upgraded.execute(columns).fetchall() == new.execute(columns).fetchall()
        index = "SELECT name FROM pragma_index_info('delivery_due')"
        assert upgraded.execute(index).fetchall() == new.execute(index).fetchall()


async def test_what_was_queued_is_delivered_after_the_upgrade(
    version: int, old: Path, open_spool: OpenSpool, clock: FakeClock
) -> None:
    spool = open_spool()
    assert spool.report.recovered is None
    if version == 2:
        assert [each.hop for each in await spool.shut_hops()] == ["mx.g.example"]
    clock.time_ms = LATER_MS
    found = await every(spool)
    waiting = {"plain@a.example", "tried@b.example", "one@c.example", "other@a.example"} | {
        "capped@a.example",
        "capped@d.example",
    }
    assert set(found) - {"unowned@h.example"} == waiting | ({"waits@g.example"} if version == 2 else set())
    tried, plain, large = found["tried@b.example"], found["plain@a.example"], found["one@c.example"]
    assert (tried.attempts, tried.faults, tried.recipient.index) == (1, 0, 1)
    assert tried.recipient.personal_to == "Tried <tried@b.example>"
    assert (tried.message.account_id, tried.message.subuser_id, tried.message.key_id) == (1, 2, "key-2")
    assert tried.message.categories == ("news", "May")
    assert tried.message.category_is_list
    assert tried.message.unique_args == (("id", "7"), ("naïve", "ü"))
    assert (tried.message.body, tried.message.eight_bit) == ("Grüße\r\n".encode(), True)
    assert (plain.message.body, plain.message.smtp_id) == (b"This is number 1.\r\n", "<1@client.example>")
    assert not isinstance(large.message.body, bytes)
    assert large.message.body.path.read_bytes() == LARGE
    assert large.message.body.checksum is None
    sizes = dict(rows(old, "SELECT address, size FROM delivery"))
    assert {address: sizes[address] for address in found} == {
        address: each.message.size_bytes for address, each in found.items()
    }
    for each in found.values():
        assert await spool.settle(Settlement(each, Delivered("250"), NOW_MS))
    left = set(rows(old, "SELECT address FROM delivery"))
    assert left - {"unowned@h.example"} == {"held@d.example"} | ({"poison@f.example"} if version == 2 else set())
    assert not (old / "bodies" / LARGE_FILE).exists()


def test_what_was_held_is_released_after_the_upgrade(version: int, old: Path, clock: FakeClock) -> None:
    message_id = parse_message_id("AaMYXFAAAAcAAAAAAAAABA")
    assert message_id is not None
    with Operator(old, clock=clock, encode=encode) as operator:
        assert sum(each.set_aside for each in operator.status()) == version - 1
        shown = operator.show(message_id)
        assert shown is not None
        assert [(each.address, each.held) for each in shown.deliveries] == [("held@d.example", 1)]
        assert operator.release(Selection()) == version


async def test_an_upgrade_that_was_interrupted_begins_anew(
    version: int, old: Path, open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(old)
    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS[:-1], (*schema._STEPS[-1], "SELECT nonsense FROM nowhere")))
    with closing(schema.connect(old / "spool.db")) as connection, pytest.raises(sqlite3.OperationalError):
        schema.upgrade(connection)
    assert rows(old, "PRAGMA user_version") == [version]
    assert content(old) == before
    monkeypatch.undo()
    assert "plain@a.example" in await every(open_spool())


async def test_a_damaged_spool_that_cannot_be_upgraded_is_salvaged_all_the_same(
    tmp_path: Path, open_spool: OpenSpool
) -> None:
    old = thawed(tmp_path / "spool", 1)
    with closing(sqlite3.connect(old / "spool.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
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
    assert (report.recovered.salvaged.deliveries, report.recovered.salvaged.lost_deliveries) == (8, 0)
    assert not report.recovered.salvaged.new_identity
    assert {"plain@a.example", "one@c.example"} <= set(await every(open_spool()))
