from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
import sqlalchemy as sa

from sekisho import ipaccess
from sekisho.accounts import Account
from sekisho.apikeys.scopes import effective
from sekisho.audit import audit
from sekisho.db import Database, DatabaseUnavailable
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, KeyId
from sekisho.ipaccess import Attempt, activity
from sekisho.ipaccess.activity import Activity, Method
from sekisho.policy.closing import delete_subuser
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, NOW_MS, RELAY, a_subuser, an_account
from tests.fakes.databases import out_of_reach

HOME, AWAY = "192.0.2.7", "203.0.113.9"


@dataclass
class Scene:
    """An account whose keys are used, and the collector of one worker."""

    database: Database
    clock: FakeClock = field(default_factory=lambda: FakeClock(at_ms=NOW_MS // 60_000 * 60_000))

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            self.acme = an_account(tx)
        self.smtp = self.worker()

    def worker(self, method: Method = Method.SMTP) -> Activity:
        return Activity(self.database, method, self.clock.now_ms)

    def come(
        self,
        address: str,
        *,
        allowed: bool = True,
        at: Activity | None = None,
        whose: Account | None = None,
        key: str = "k1",
    ) -> None:
        identity = identity_of(whose or self.acme, key)
        (at or self.smtp).attempt(identity, ip_address(address), allowed)

    def rows(self, whose: AccountId | None = None) -> list[Attempt]:
        with self.database.connect() as tx:
            return list(ipaccess.recent_attempts(tx, whose or self.acme.id, 2000))

    def refusals(self) -> list[tuple[str | None, str | None, str]]:
        with self.database.connect() as tx:
            query = sa.select(audit).where(audit.c.action == "access.refused").order_by(audit.c.id)
            return [(row.actor, row.address, row.details) for row in tx.execute(query)]


def identity_of(owner: Account, key: str) -> Identity:
    return Identity(
        owner.account_id, owner.subuser_id, KeyId(key), effective(frozenset(), of_subuser=False), KeyPolicy()
    )


@pytest.fixture
def scene(control: Database) -> Scene:
    return Scene(control)


def test_attempts_of_a_kind_are_one_row_with_first_and_last(scene: Scene) -> None:
    began_ms = scene.clock.at_ms
    for address, allowed in ((HOME, True), (AWAY, False), (f"::ffff:{HOME}", True), (HOME, False)):
        scene.come(address, allowed=allowed)
        scene.clock.go(1)
    web = scene.worker(Method.WEB)
    scene.come(HOME, at=web)
    assert scene.rows() == []  # nothing is written on the way
    assert (scene.smtp.flush(), web.flush()) == (3, 1)
    assert scene.rows() == [
        Attempt(HOME, "Web", True, began_ms + 4000, began_ms + 4000),
        Attempt(HOME, "SMTP", False, began_ms + 3000, began_ms + 3000),
        Attempt(HOME, "SMTP", True, began_ms, began_ms + 2000),
        Attempt(AWAY, "SMTP", False, began_ms + 1000, began_ms + 1000),
    ]


def test_who_goes_on_coming_is_written_once_a_minute_and_at_the_end(scene: Scene) -> None:
    began_ms = scene.clock.at_ms
    scene.come(HOME)
    assert scene.smtp.flush() == 1
    for _ in range(29):
        scene.clock.go(2)
        scene.come(HOME)
        assert scene.smtp.flush() == 0
    assert scene.rows() == [Attempt(HOME, "SMTP", True, began_ms, began_ms)]
    scene.clock.go(2)
    assert scene.smtp.flush() == 1
    assert scene.rows()[0].last_ms == began_ms + 58_000
    scene.come(HOME)
    assert (scene.smtp.flush(), scene.smtp.flush(everything=True)) == (0, 1)
    assert scene.rows()[0].last_ms == began_ms + 60_000
    assert scene.smtp.flush(everything=True) == 0


def test_a_clock_set_back_holds_nothing_back(scene: Scene) -> None:
    scene.come(HOME)
    scene.smtp.flush()
    first_ms = scene.clock.at_ms
    scene.clock.at_ms -= 3_600_000
    scene.come(HOME)
    assert scene.smtp.flush() == 1
    assert scene.rows() == [Attempt(HOME, "SMTP", True, first_ms - 3_600_000, first_ms)]


def test_workers_write_in_any_order(scene: Scene) -> None:
    began_ms = scene.clock.at_ms
    other = scene.worker()
    scene.come(HOME)
    scene.clock.go(1)
    scene.come(HOME, at=other)
    other.flush()
    scene.smtp.flush()
    assert scene.rows() == [Attempt(HOME, "SMTP", True, began_ms, began_ms + 1000)]


def test_what_cannot_be_written_is_kept(scene: Scene) -> None:
    began_ms = scene.clock.at_ms
    scene.come(HOME)
    with out_of_reach(scene.database), pytest.raises(DatabaseUnavailable):
        scene.smtp.flush()
    scene.clock.go(5)
    scene.come(HOME)
    assert scene.smtp.flush() == 1
    assert scene.rows() == [Attempt(HOME, "SMTP", True, began_ms, began_ms + 5000)]


def test_memory_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "COLLECTED_MAX", 3)
    for number in range(5):
        scene.come(f"192.0.2.{number}")
    scene.come("192.0.2.0")  # what is known already goes on being counted
    assert scene.smtp.flush() == 3
    for number in range(5, 8):
        scene.come(f"192.0.2.{number}")
    assert scene.smtp.flush() == 3
    # The first three were forgotten as written: they are written again at once.
    scene.come("192.0.2.0")
    assert scene.smtp.flush() == 1


def test_one_owner_leaves_room_for_others(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "KEPT", 3)
    monkeypatch.setattr(activity, "COLLECTED_MAX", 5)
    with scene.database.begin() as tx:
        other = an_account(tx, "other")
    for _ in range(2):
        for number in range(9):
            scene.come(f"192.0.2.{number}")
        scene.come(HOME, whose=other)
        assert scene.smtp.flush(everything=True) == 4
    assert len(scene.rows(other.id)) == 1


def test_a_transaction_is_bounded_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "BATCH_MAX", 2)
    begun = 0
    begin = scene.database.begin

    def counted() -> object:
        nonlocal begun
        begun += 1
        return begin()

    monkeypatch.setattr(scene.database, "begin", counted)
    for number in range(5):
        scene.come(f"192.0.2.{number}")
    assert scene.smtp.flush() == 5
    assert begun == 3


def test_the_newest_are_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "KEPT", 3)
    with scene.database.begin() as tx:
        other = an_account(tx, "other")
    scene.come(HOME, whose=other)
    for number in range(6):
        scene.come(f"192.0.2.{number}")
        scene.clock.go(1)
        scene.smtp.flush()
    assert [row.address for row in scene.rows()] == ["192.0.2.5", "192.0.2.4", "192.0.2.3"]
    assert len(scene.rows(other.id)) == 1


def test_a_subuser_is_an_owner_and_one_that_was_deleted_leaves_nothing(scene: Scene) -> None:
    with scene.database.begin() as tx:
        shop, gone = a_subuser(tx, scene.acme), a_subuser(tx, scene.acme, "gone")
    for owner in (shop, gone):
        scene.come(HOME, whose=owner)
        scene.come(AWAY, whose=owner, allowed=False)
    with scene.database.begin() as tx:
        delete_subuser(tx, gone, relay=RELAY, by=BY)
    scene.smtp.flush()
    assert [len(scene.rows(owner.id)) for owner in (scene.acme, shop, gone)] == [0, 2, 0]
    assert len(scene.refusals()) == 1


# The audit log.


def test_a_refusal_is_audited_with_key_address_and_number(scene: Scene) -> None:
    for key in ("k1", "k1", "k2"):
        scene.come(AWAY, allowed=False, key=key)
    scene.come(HOME)
    scene.smtp.flush()
    assert scene.refusals() == [("key:k2", AWAY, '{"attempts":3,"method":"SMTP"}')]


def test_refusals_are_folded_per_address_and_minute_whichever_worker_saw_them(scene: Scene) -> None:
    other = scene.worker()
    for _ in range(6):
        for worker in (scene.smtp, other):
            scene.come(AWAY, allowed=False, at=worker)
            worker.flush(everything=True)
        scene.clock.go(25)
    # 0 s, 75 s and 125 s are the first of their minutes.
    assert len(scene.refusals()) == 3


def test_a_flood_of_addresses_does_not_flood_the_audit_log(scene: Scene) -> None:
    for _ in range(2):
        for number in range(2 * activity.AUDITED_MAX):
            scene.come(f"2001:db8::{number:x}", allowed=False)
        scene.smtp.flush(everything=True)
    assert len(scene.refusals()) == activity.AUDITED_MAX
    assert len(scene.rows()) == 2 * activity.AUDITED_MAX
    scene.clock.go(60)
    scene.come(AWAY, allowed=False)
    scene.smtp.flush()
    assert len(scene.refusals()) == activity.AUDITED_MAX + 1
