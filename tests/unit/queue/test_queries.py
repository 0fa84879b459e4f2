from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sekisho.queue import queries
from sekisho.queue.model import Delivery
from sekisho.queue.selection import Selection

from .conftest import OpenSpool
from .support import NOW_MS, accepted, due, make, rows


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (queries._DUE + queries._ORDER, (1, "d", 0)),
        (queries._DUE + queries._UNTRIED + queries._ORDER, (1, "d", 0, 0)),
        (queries._LATER, (1, "d", 0)),
        (queries._NEXT_DESTINATION, (1, "d")),
        (queries._DUE + queries._NOT_HELD + queries._ORDER, (1, "d", 0, "[]", "[]")),
        ("SELECT min(owner) FROM delivery WHERE owner > ?", (0,)),
        ("SELECT 1 FROM delivery WHERE owner = 0 AND held = 0 LIMIT 1", ()),
        (f"SELECT row FROM delivery WHERE {Selection(b'x').conditions()[0]}", Selection(b"x").conditions()[1]),  # type: ignore[arg-type]  # noqa: S608
        (f"SELECT row FROM delivery WHERE {Selection(b'x', 1).conditions()[0]}", Selection(b"x", 1).conditions()[1]),  # type: ignore[arg-type]  # noqa: S608
    ],
)
async def test_what_is_asked_often_is_searched_by_index(
    open_spool: OpenSpool, tmp_path: Path, statement: str, arguments: tuple[object, ...]
) -> None:
    await open_spool().close()
    plan = [step[3] for step in rows(tmp_path / "spool", f"EXPLAIN QUERY PLAN {statement}", *arguments)]
    assert plan[0].startswith("SEARCH delivery USING"), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


async def test_large_messages_are_read_some_at_a_time(open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "READ_BYTES_MAX", 25_000)
    spool = open_spool()
    for _ in range(4):
        await spool.append(make("a@d.example", "b@d.example", body=bytes(10_000)))
    known: set[int] = set()
    found: list[Delivery] = []
    while read := await due(spool, "d.example", NOW_MS, 100, known):
        # Every message with all its recipients, or not yet.
        assert len(read) in {2, 6}
        known |= {each.row for each in read}
        found += read
    assert len(found) == len(known) == 8


async def test_owners_are_listed_without_reading_their_deliveries(open_spool: OpenSpool, tmp_path: Path) -> None:
    spools = [open_spool(with_slot=False), open_spool(), open_spool()]
    for spool in spools[::2]:
        accepted(await spool.append(make(*(f"{number}@d.example" for number in range(50)))))
    connection = sqlite3.connect(tmp_path / "spool" / "spool.db")
    assert 2 in queries.owners_present(connection)
    connection.close()
