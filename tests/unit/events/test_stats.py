from __future__ import annotations

import pytest
import sqlalchemy as sa

from sekisho.db import Database
from sekisho.events.stats import METRICS, Days, added, by_day, over, reputation
from sekisho.events.tables import event_day


@pytest.fixture
def store(event_store: Database) -> Database:
    return event_store


def counted(store: Database, *rows: tuple[int, int, int, str, int]) -> None:
    names = ("account_id", "subuser_id", "day", "kind", "count")
    with store.begin() as tx:
        tx.execute(sa.insert(event_day), [dict(zip(names, row, strict=True)) for row in rows])


def test_kinds_become_the_vendors_metrics(store: Database) -> None:
    counted(
        store,
        (1, 5, 100, "processed", 10),
        (1, 5, 100, "dropped", 2),
        (1, 5, 100, "delivered", 7),
        (1, 5, 100, "deferred", 4),
        (1, 5, 100, "bounce", 2),
        (1, 5, 100, "blocked", 1),
    )
    with store.connect() as tx:
        (counts,) = by_day(tx, 1, [5], Days(100, 100))[5].values()
    assert counts == {
        "processed": 10, "requests": 12, "delivered": 7, "deferred": 4, "bounces": 2, "blocks": 1,
    }  # fmt: skip
    assert counts.keys() <= set(METRICS)


def test_only_what_was_asked_for_is_read(store: Database) -> None:
    counted(
        store,
        (1, 5, 99, "delivered", 1),
        (1, 5, 100, "delivered", 2),
        (1, 5, 101, "delivered", 4),
        (1, 6, 100, "delivered", 8),
        (1, 0, 100, "delivered", 16),
        (2, 5, 100, "delivered", 32),
    )
    with store.connect() as tx:
        assert by_day(tx, 1, [5, 0], Days(100, 101)) == {
            0: {100: {"delivered": 16}},
            5: {100: {"delivered": 2}, 101: {"delivered": 4}},
        }
        assert over(tx, 1, [5, 0], Days(100, 101)) == {
            subuser: added(days.values()) for subuser, days in by_day(tx, 1, [5, 0], Days(100, 101)).items()
        }
        assert over(tx, 1, range(1, 2000), Days(100, 100)) == {5: {"delivered": 2}, 6: {"delivered": 8}}
        assert over(tx, 1, [], Days(0, 1000)) == {}
        assert by_day(tx, 1, [], Days(0, 1000)) == {}
        assert by_day(tx, 1, range(1, 2000), Days(100, 100)) == {5: {100: {"delivered": 2}}, 6: {100: {"delivered": 8}}}


def test_adding_up() -> None:
    assert added([{"a": 1, "b": 2}, {}, {"a": 3}]) == {"a": 4, "b": 2}
    assert added([]) == {}


@pytest.mark.parametrize(
    ("month", "score"),
    [
        ({}, 100.0),
        ({"delivered": 1000}, 100.0),
        ({"delivered": 900, "bounces": 100}, 80.0),
        ({"delivered": 500, "blocks": 500}, 50.0),
        ({"bounces": 1}, 96.0),
        ({"bounces": 1000}, 0.0),
    ],
)
def test_reputation_falls_by_the_share_of_bounces_and_blocks(month: dict[str, int], score: float) -> None:
    assert reputation(month) == score
