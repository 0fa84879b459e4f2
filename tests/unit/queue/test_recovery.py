from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sekisho.ids import KeyId
from sekisho.queue import recovery, schema
from sekisho.queue.layout import Layout
from sekisho.queue.local import LocalSpool
from sekisho.queue.locks import FileLock, LockTimeoutError
from sekisho.queue.model import Caps, Deferred, Delivered
from sekisho.queue.outbox import OutboxReader
from sekisho.queue.recovery import Report
from sekisho.queue.schema import SpoolTooNewError
from sekisho.queue.spool import Settlement

from .conftest import OpenSpool
from .support import NOW_MS, accepted, due, events, large_body, make, rows


def prepare(directory: Path) -> Report:
    lock, report = recovery.enter(Layout(directory), NOW_MS, wait_s=0.1)
    lock.close()
    return report


def aside(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if ".suspect-" in path.name)


async def filled(open_spool: OpenSpool, messages: int = 5, body: bytes = b"body\r\n") -> LocalSpool:
    """A closed spool with mail, an attempt, events and counted caps."""
    spool = open_spool()
    for number in range(messages):
        caps = Caps(KeyId("k"), daily=1000, rate_count=1000)
        accepted(await spool.append(make(f"a{number}@d.example", f"b{number}@d.example", body=body, caps=caps)))
    (first, *_) = await due(spool, "d.example", NOW_MS, 1)
    await spool.settle(Settlement(first, Deferred("451 later", NOW_MS), NOW_MS))
    await spool.close()
    return spool


def test_a_spool_is_made_complete_or_not_at_all(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    assert prepare(directory) == Report(created=True)
    assert prepare(directory) == Report()
    assert {path.name for path in directory.iterdir()} == {
        "spool.db", "bodies", "incoming", "slots", "use.lock",
    }  # fmt: skip


def test_an_interrupted_creation_is_begun_anew(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    (directory / "spool.db.new").write_bytes(b"half")
    (directory / "spool.db.new-wal").write_bytes(b"half")
    assert prepare(directory) == Report(created=True)


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    prepare(tmp_path)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
        connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    with pytest.raises(SpoolTooNewError, match="newer release"):
        prepare(tmp_path)
    assert aside(tmp_path) == []


async def test_an_older_schema_is_upgraded(
    open_spool: OpenSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(open_spool)
    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, ("CREATE TABLE later (x INTEGER)",)))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    assert prepare(tmp_path / "spool") == Report()
    assert rows(tmp_path / "spool", "SELECT count(*) FROM later") == [0]
    assert rows(tmp_path / "spool", "PRAGMA user_version") == [schema.VERSION]
    assert rows(tmp_path / "spool", "SELECT count(*) FROM delivery") == [10]


async def test_after_a_failed_sync_everything_readable_is_carried_over(open_spool: OpenSpool, tmp_path: Path) -> None:
    old = await filled(open_spool)
    directory = tmp_path / "spool"
    tables = ("message", "delivery", "outbox", "daily", "rate")
    before = [rows(directory, f"SELECT * FROM {table}") for table in tables]  # noqa: S608
    (directory / "spool.suspect").write_text("OperationalError: disk I/O error\n")
    spool = open_spool()
    report = spool.report
    assert report.recovered is not None
    assert report.recovered.why == "OperationalError: disk I/O error"
    found = report.recovered.salvaged
    assert (found.messages, found.deliveries, found.events) == (5, 10, 1)
    assert (found.lost_deliveries, found.orphan_messages, found.damaged_places) == (0, 0, 0)
    assert spool.meta == old.meta
    assert [rows(directory, f"SELECT * FROM {table}") for table in tables] == before  # noqa: S608
    assert not (directory / "spool.suspect").exists()
    assert aside(directory) == [f"spool.db.suspect-{NOW_MS}"]
    # What was lost with the failed sync may have used any number: none of those is used again.
    (_, event) = rows(directory, "SELECT next_message, next_event FROM counter")[0]
    assert event > 1 << 32
    (delivery, *_) = accepted(await spool.append(make()))
    assert delivery.row > max(row for row in rows(directory, "SELECT row FROM delivery") if row != delivery.row)


@pytest.mark.parametrize(
    "content", [b"", b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000], ids=["empty", "text", "header"]
)
async def test_what_is_no_database_is_set_aside_and_reported(
    open_spool: OpenSpool, tmp_path: Path, content: bytes
) -> None:
    directory = tmp_path / "spool"
    prepare(directory)
    (directory / "spool.db").write_bytes(content)
    spool = open_spool()
    assert spool.report.recovered is not None
    assert spool.report.recovered.salvaged.new_identity
    assert spool.report.recovered.aside.read_bytes() == content
    accepted(await spool.append(make()))


async def test_a_log_without_its_database_is_set_aside(open_spool: OpenSpool, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    (directory / "spool.db-wal").write_bytes(b"perhaps mail")
    assert open_spool().report.recovered is not None
    assert (directory / f"spool.db.suspect-{NOW_MS}-wal").read_bytes() == b"perhaps mail"


async def test_another_programs_database_is_set_aside(open_spool: OpenSpool, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        connection.execute("CREATE TABLE message (row INTEGER PRIMARY KEY)")
    recovered = open_spool().report.recovered
    assert recovered is not None
    assert "another program" in recovered.why


async def test_a_lost_table_is_recovered_from(open_spool: OpenSpool, tmp_path: Path) -> None:
    await filled(open_spool)
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as connection:
        connection.execute("DROP TABLE outbox")
    spool = open_spool()
    assert spool.report.recovered is not None
    assert spool.report.recovered.salvaged.deliveries == 10
    assert spool.report.recovered.salvaged.damaged_places == 1
    accepted(await spool.append(make()))


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (b"address TEXT NOT NULL", b"\xa0ddress TEXT NOT NULL"),
        (b"address TEXT NOT NULL", b"iddress TEXT NOT NULL"),
        (b"account INTEGER NOT NULL", b"account INTEGER(NOT NULL"),
        (b"CREATE TABLE message (", b"CREATE TABLD message ("),
        (b"CREATE TABLE message (", b"CREATE TABLE me\xf3sage ("),
        (b"CREATE INDEX delivery_due ON", b"CREATE INDEX delivery_duf ON"),
        (b"spool BLOB NOT NULL", b"spool BLOC NOT NULL"),
        (b"spool BLOB NOT NULL", b"spo\xefl BLOB NOT NULL"),
    ],
)
async def test_a_damaged_description_of_the_tables_costs_no_row(
    open_spool: OpenSpool, tmp_path: Path, written: bytes, found: bytes
) -> None:
    await filled(open_spool)
    database = tmp_path / "spool" / "spool.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.read_bytes()
    assert before.count(written) == 1
    database.write_bytes(before.replace(written, found))
    spool = open_spool()
    assert spool.report.recovered is not None
    salvaged = spool.report.recovered.salvaged
    assert (salvaged.messages, salvaged.deliveries, salvaged.events) == (5, 10, 1)
    assert (salvaged.damaged_places, salvaged.new_identity) == (0, False)
    assert spool.report.recovered.aside.read_bytes() == before.replace(written, found), "evidence"
    assert len(await due(spool, "d.example", NOW_MS, 100)) == 10


@pytest.mark.parametrize("table", ["message", "delivery", "outbox"])
async def test_damaged_pages_cost_only_what_is_on_them(open_spool: OpenSpool, tmp_path: Path, table: str) -> None:
    directory = tmp_path / "spool"
    spool = open_spool()
    names = [f"{number}{'x' * 60}@d.example" for number in range(300)]
    made = await asyncio.gather(*(spool.append(make(name, body=bytes(300))) for name in names))
    later = Deferred("451", NOW_MS)
    await asyncio.gather(*(spool.settle(Settlement(accepted(each)[0], later, NOW_MS)) for each in made))
    await spool.close()
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        pages = [
            page
            for (page,) in connection.execute(
                "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno", (table,)
            )
        ]
    assert len(pages) > 3
    with (directory / "spool.db").open("r+b") as file:
        file.seek((pages[len(pages) // 2] - 1) * size)
        file.write(b"\xa5" * size)
    (directory / "spool.suspect").write_text("found in operation\n")
    spool = open_spool()
    assert spool.report.recovered is not None
    found = spool.report.recovered.salvaged
    kept = {"message": found.deliveries, "delivery": found.deliveries, "outbox": found.events}[table]
    assert 300 * (len(pages) - 2) / len(pages) - 20 < kept < 300
    assert found.damaged_places == (0 if table == "message" else 1)
    if table == "message":
        assert found.lost_deliveries == 300 - kept
    # What is left can be read and carried out.
    deliveries = await due(spool, "d.example", NOW_MS, 1000)
    assert len(deliveries) == found.deliveries
    settling = [spool.settle(Settlement(each, Delivered("250"), NOW_MS)) for each in deliveries]
    assert all(await asyncio.gather(*settling))
    assert rows(directory, "SELECT count(*) FROM message") == [0]
    assert rows(directory, "PRAGMA integrity_check") == ["ok"]


@pytest.mark.parametrize(
    "damage",
    [
        "envelope = x'c1'",
        # In the middle of a text: the bytes of an address that are no UTF-8.
        "envelope = CAST(replace(envelope, 'sender@', x'FFFEFDFCFBFAF9') AS BLOB)",
        "envelope = 'text'",
        "envelope = 5",
        "body_file = x'61'",
        "body_file = '../spool.db'",
    ],
)
async def test_a_message_that_does_not_decode_is_left_behind(
    open_spool: OpenSpool, tmp_path: Path, damage: str
) -> None:
    await filled(open_spool, messages=2)
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as connection, connection:
        before = connection.execute("SELECT * FROM message").fetchall()
        connection.execute(f"UPDATE message SET {damage} WHERE row = 1")  # noqa: S608  # the cases above
        assert connection.execute("SELECT * FROM message").fetchall() != before
    (tmp_path / "spool" / "spool.suspect").write_text("DecodeError\n")
    report = open_spool().report
    assert report.recovered is not None
    assert (report.recovered.salvaged.messages, report.recovered.salvaged.lost_deliveries) == (1, 2)
    assert report.recovered.salvaged.orphan_messages == 1


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_an_interrupted_exchange_is_carried_to_its_end(
    open_spool: OpenSpool, tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(open_spool)
    directory = tmp_path / "spool"
    (directory / "spool.suspect").write_text("x\n")
    rename, left = Path.rename, steps

    class Crash(BaseException):
        pass

    def crashing(path: Path, target: Path) -> Path:
        nonlocal left
        if not left:
            raise Crash
        left -= 1
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crashing)
        with pytest.raises(Crash):
            prepare(directory)
    report = prepare(directory)
    # Once the copy was complete, the exchange goes on instead of being begun anew.
    assert (report.recovered is None) == (steps > 0)
    assert rows(directory, "SELECT count(*) FROM delivery") == [10]
    assert events(directory) == ["deferred a0@d.example 0"]
    assert not (directory / "spool.suspect").exists()
    assert f"spool.db.suspect-{NOW_MS}" in aside(directory)
    assert not [path.name for path in directory.iterdir() if path.name.endswith((".new", ".ready"))]


@pytest.mark.parametrize("how", ["damaged", "gone"])
async def test_bodies_whose_rows_were_lost_are_set_aside(open_spool: OpenSpool, tmp_path: Path, how: str) -> None:
    spool = open_spool()
    arguments = large_body(spool.incoming, spool.body_path)
    accepted(await spool.append(make(**arguments)))
    await spool.close()
    directory = tmp_path / "spool"
    if how == "damaged":
        (directory / "spool.db").write_bytes(b"not a database" * 1000)
    else:
        for file in directory.glob("spool.db*"):
            file.unlink()

    assert prepare(directory).swept_bodies == 1
    (aside,) = directory.glob("bodies.suspect-*")
    assert [file.read_bytes() for file in aside.iterdir()] == [b"large\r\n" * 1000]


async def test_orphans_are_swept_and_missing_bodies_counted(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    kept, lost = (large_body(spool.incoming, spool.body_path) for _ in range(2))
    for arguments in (kept, lost):
        accepted(await spool.append(make(**arguments)))
    await spool.close()
    directory = tmp_path / "spool"
    lost["body"].path.unlink()
    (directory / "bodies" / "orphan.body").touch()
    (directory / "incoming" / "1.tmp").touch()
    (directory / "incoming" / "0").mkdir()
    (directory / "incoming" / "0" / "2.tmp").touch()
    assert prepare(directory) == Report(swept_incoming=2, swept_bodies=1, missing_bodies=1)
    assert list((directory / "bodies").iterdir()) == [kept["body"].path]


async def test_the_room_of_a_queue_that_has_gone_is_given_back(
    open_spool: OpenSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool()
    kept, *gone = accepted(await spool.append(make(*(f"{number}{'x' * 60}@d.example" for number in range(2000)))))
    await asyncio.gather(*(spool.settle(Settlement(each, Delivered("250"), NOW_MS)) for each in gone))
    await spool.close()
    with OutboxReader(tmp_path / "spool") as outbox:
        outbox.delete_outbox(len(gone))
    database = tmp_path / "spool" / "spool.db"
    before = database.stat().st_size
    assert prepare(tmp_path / "spool") == Report()
    assert database.stat().st_size == before
    monkeypatch.setattr(recovery, "_COMPACT_FREE_BYTES", 1 << 16)
    assert prepare(tmp_path / "spool") == Report()
    assert database.stat().st_size < before / 2
    assert rows(tmp_path / "spool", "SELECT row FROM delivery") == [kept.row]


async def test_nothing_is_swept_beside_a_live_server(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    being_received = spool.incoming / "1.tmp"
    being_received.touch()
    assert prepare(tmp_path / "spool") == Report()
    assert being_received.exists()


async def test_a_suspect_spool_is_recovered_only_when_everybody_has_left(open_spool: OpenSpool, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    await filled(open_spool)
    user = FileLock(directory / "use.lock")
    assert user.try_shared()
    (directory / "spool.suspect").write_text("x\n")
    with pytest.raises(LockTimeoutError):
        prepare(directory)
    assert aside(directory) == []
    user.close()
    assert prepare(directory).recovered is not None
