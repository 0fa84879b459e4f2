from __future__ import annotations

import pytest

from sekisho import audit
from sekisho.audit.refusals import COLLECTED_MAX, WRITTEN_MAX, Refusals
from sekisho.db import Database, DatabaseUnavailable
from tests.fakes.clock import FakeClock
from tests.fakes.databases import out_of_reach


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(at_ms=60_000 * 1000)


@pytest.fixture
def refusals(control: Database, clock: FakeClock) -> Refusals:
    return Refusals(control, door="SMTP", now_ms=clock.now_ms)


def written(control: Database) -> list[tuple[int, str | None, str, object, object]]:
    with control.connect() as tx:
        found = audit.entries(tx, None, limit=500)[::-1]
    return [(one.chain, one.address, one.subject, one.details.get("reason"), one.details["count"]) for one in found]


def test_equal_ones_of_a_minute_are_one_entry(control: Database, clock: FakeClock, refusals: Refusals) -> None:
    for _ in range(3):
        refusals.note("auth.bad_key", "192.0.2.1", owner_id=None, key_id=None)
    refusals.note("auth.bad_key", "192.0.2.2", owner_id=None, key_id=None)
    refusals.note("from.unverified", "192.0.2.1", owner_id=7, key_id="id")
    assert refusals.flush() == 0
    clock.go(60)
    refusals.note("auth.bad_key", "192.0.2.1", owner_id=None, key_id=None)
    assert refusals.flush() == 3
    assert written(control) == [
        (0, "192.0.2.1", "", "auth.bad_key", 3),
        (0, "192.0.2.2", "", "auth.bad_key", 1),
        (7, "192.0.2.1", "id", "from.unverified", 1),
    ]
    assert refusals.flush(everything=True) == 1
    assert written(control)[-1] == (0, "192.0.2.1", "", "auth.bad_key", 1)


def test_strangers_cannot_fill_a_log(control: Database, clock: FakeClock, refusals: Refusals) -> None:
    for number in range(WRITTEN_MAX + 30):
        refusals.note("auth.bad_key", f"192.0.2.{number}", owner_id=None, key_id=None)
    refusals.note("auth.disabled", "192.0.2.1", owner_id=7, key_id="id")
    clock.go(60)
    refusals.flush()
    found = written(control)
    assert len(found) == WRITTEN_MAX + 2
    assert (0, None, "", None, 30) in found
    assert sum(int(str(count)) for *_, count in found) == WRITTEN_MAX + 31


def test_the_log_of_a_tenant_that_is_gone_takes_no_addresses(
    control: Database, clock: FakeClock, refusals: Refusals
) -> None:
    with control.begin() as tx:
        for number in (7, 8):
            details = {"count": 0}
            by = audit.By("operator", 1)
            audit.record(tx, by=by, action="subuser.create", account_id=number, subject="shop", details=details)
        audit.erase(tx, 7)
    refusals.note("auth.bad_key", "192.0.2.1", owner_id=7, key_id="id")
    refusals.note("auth.bad_key", "192.0.2.1", owner_id=8, key_id="other")
    clock.go(60)
    refusals.flush()
    assert written(control)[2:] == [
        (7, None, "id", "auth.bad_key", 1),
        (8, "192.0.2.1", "other", "auth.bad_key", 1),
    ]


def test_memory_is_bounded_and_nothing_goes_uncounted(refusals: Refusals) -> None:
    for number in range(COLLECTED_MAX + 500):
        refusals.note("auth.bad_key", str(number), owner_id=None, key_id=None)
    assert len(refusals._seen) <= COLLECTED_MAX + 1
    assert sum(refusals._seen.values()) == COLLECTED_MAX + 500


def test_what_could_not_be_written_is_written_later(control: Database, clock: FakeClock, refusals: Refusals) -> None:
    refusals.note("auth.bad_key", "192.0.2.1", owner_id=None, key_id=None)
    clock.go(60)
    with out_of_reach(control), pytest.raises(DatabaseUnavailable):
        refusals.flush()
    assert refusals.flush() == 1
    assert written(control) == [(0, "192.0.2.1", "", "auth.bad_key", 1)]
