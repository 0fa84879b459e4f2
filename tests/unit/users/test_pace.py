from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from sekisho.db import Database
from sekisho.ids import UserId
from sekisho.users.pace import PURPOSE, Kind, Pace, give_back, prune, wait_s
from sekisho.users.tables import login_failure
from tests.fakes.control import NOW_MS, SEALER


@pytest.fixture
def pace() -> Pace:
    return Pace(SEALER.derive(PURPOSE))


def counted(control: Database) -> int:
    with control.connect() as tx:
        return int(tx.execute(sa.select(sa.func.coalesce(sa.func.sum(login_failure.c.count), 0))).scalar_one())


@pytest.mark.parametrize("kind", Kind)
def test_so_many_tries_and_no_more_until_the_window_is_over(control: Database, pace: Pace, kind: Kind) -> None:
    with control.begin() as tx:
        for _ in range(kind.tries):
            assert not pace.is_over(tx, kind, "ann", NOW_MS)
            assert pace.take(tx, kind, "ann", NOW_MS) is not None
        assert pace.is_over(tx, kind, "ann", NOW_MS)
        assert pace.take(tx, kind, "ann", NOW_MS) is None
        # Others are others, and so is another kind.
        assert pace.take(tx, kind, "bob", NOW_MS) is not None
        for other in (one for one in Kind if one is not kind):
            assert not pace.is_over(tx, other, "ann", NOW_MS)
        then = NOW_MS + 1000 * wait_s(kind, NOW_MS)
        assert pace.take(tx, kind, "ann", then - 1000) is None
        assert pace.take(tx, kind, "ann", then) is not None
    assert counted(control) == kind.tries + 2


def test_a_try_that_succeeded_is_none(control: Database, pace: Pace) -> None:
    user = UserId(7)
    with control.begin() as tx:
        for _ in range(20):
            taken = pace.take_factor(tx, user, NOW_MS)
            assert taken is not None
            give_back(tx, taken)
        for _ in range(Kind.FACTOR.tries):
            assert pace.take_factor(tx, user, NOW_MS) is not None
        assert pace.take_factor(tx, user, NOW_MS) is None
        assert pace.take_factor(tx, UserId(8), NOW_MS) is not None


def test_of_many_at_the_same_time_no_more_get_through(control: Database, pace: Pace) -> None:
    ready = Barrier(20)

    def attempt(_: int) -> bool:
        ready.wait(30)
        with control.begin() as tx:
            return pace.take(tx, Kind.NAME, "ann", NOW_MS) is not None

    with ThreadPoolExecutor(20) as threads:
        got = list(threads.map(attempt, range(20)))
    assert sum(got) == Kind.NAME.tries
    assert counted(control) == Kind.NAME.tries


def test_what_was_typed_is_not_stored(control: Database, pace: Pace) -> None:
    with control.begin() as tx:
        assert pace.take(tx, Kind.NAME, "hunter2 hunter2", NOW_MS) is not None
        assert pace.take(tx, Kind.NAME, "\ud800 no text", NOW_MS) is not None
        rows = tx.execute(sa.select(login_failure)).all()
        assert "hunter2" not in repr(rows)
        # Whoever has the database alone cannot try names against it.
        assert not Pace(SEALER.derive("something else")).is_over(tx, Kind.NAME, "hunter2 hunter2", NOW_MS)
        assert len({row.subject for row in rows}) == 2


def test_windows_that_are_over_are_removed(control: Database, pace: Pace) -> None:
    with control.begin() as tx:
        for kind in Kind:
            pace.take(tx, kind, "ann", NOW_MS)
        assert prune(tx, NOW_MS) == 0
        assert prune(tx, NOW_MS + Kind.ADDRESS.window_ms) >= 1
        assert prune(tx, NOW_MS + Kind.NAME.window_ms) >= 1
    assert counted(control) == 0
