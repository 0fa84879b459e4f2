from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
import sqlalchemy as sa

from sekisho.accounts import Account
from sekisho.apikeys import use, used
from sekisho.apikeys.actions import Issued
from sekisho.apikeys.use import HOUR_MS, KeyUse, News
from sekisho.apikeys.used import LastUse, UsedDomain, UsedFrom, Uses
from sekisho.audit import audit
from sekisho.db import Database, DatabaseUnavailable
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import KeyId
from sekisho.policy.closing import delete_subuser
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, NOW_MS, RELAY, a_key, a_subuser, an_account
from tests.fakes.databases import out_of_reach

HOME, NEXT_DOOR, AWAY = "192.0.2.7", "192.0.2.200", "203.0.113.9"


@dataclass
class Scene:
    """A key, and what one worker collects of its use."""

    database: Database
    clock: FakeClock = field(default_factory=lambda: FakeClock(at_ms=NOW_MS // HOUR_MS * HOUR_MS))
    news: list[News] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            self.acme = an_account(tx)
            self.key = a_key(tx, self.acme)
        self.worker = self.another()

    def another(self) -> KeyUse:
        return KeyUse(self.database, self.clock.now_ms, lambda _tx, news: self.news.extend(news))

    def used(self, address: str, key: Issued | None = None, *, allowed: bool = True) -> None:
        self.worker.used(identity_of(self.acme, key or self.key), ip_address(address), allowed)

    def sent(self, address: str | None, domain: str = "example.com", recipients: int = 1) -> None:
        place = None if address is None else ip_address(address)
        self.worker.sent(identity_of(self.acme, self.key), place, domain, recipients)

    def known(self) -> Uses | None:
        with self.database.connect() as tx:
            return used.uses(tx, self.key.key.id)

    def hours(self) -> list[tuple[int, int]]:
        with self.database.connect() as tx:
            rows = tx.execute(sa.select(used.key_hour).order_by(used.key_hour.c.hour))
            return [(row.hour - NOW_MS // HOUR_MS, row.recipients) for row in rows]

    def audited(self) -> list[tuple[str | None, str]]:
        with self.database.connect() as tx:
            rows = tx.execute(sa.select(audit).where(audit.c.action == "key.new_address").order_by(audit.c.id))
            return [(row.address, row.details) for row in rows]


def identity_of(owner: Account, key: Issued) -> Identity:
    return Identity(owner.account_id, owner.subuser_id, key.key.id, frozenset(), KeyPolicy())


@pytest.fixture
def scene(control: Database) -> Scene:
    return Scene(control)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::", "2001:db8:1::/48"),
    ],
)
def test_an_address_counts_for_the_network_of_one_site(address: str, network: str) -> None:
    assert use.network_of(ip_address(address)) == network


def test_what_is_known_of_a_key_is_when_from_where_as_whom_and_how_much(scene: Scene) -> None:
    began_ms = scene.clock.now_ms()
    assert scene.known() is None
    scene.used(f"::ffff:{HOME}")
    scene.clock.go(1)
    scene.sent(HOME, recipients=3)
    scene.worker.flush()
    scene.clock.go(3600)
    scene.sent(AWAY, "other.example", recipients=4)
    scene.sent(None, "example.com", recipients=5)
    scene.worker.flush()
    ended_ms = began_ms + 3_601_000
    assert scene.known() == Uses(
        began_ms,
        ended_ms,
        (
            UsedFrom(AWAY, "203.0.113.0/24", ended_ms, ended_ms, 4),
            UsedFrom(HOME, "192.0.2.0/24", began_ms, began_ms + 1000, 3),
        ),
        (
            UsedDomain("example.com", began_ms + 1000, ended_ms, 8),
            UsedDomain("other.example", ended_ms, ended_ms, 4),
        ),
    )
    assert scene.hours() == [(0, 3), (1, 9)]
    with scene.database.connect() as tx:
        assert used.last_use(tx, [scene.key.key.id, "never"]) == {scene.key.key.id: LastUse(ended_ms, AWAY)}


def test_a_key_that_is_not_let_in_is_not_used(scene: Scene) -> None:
    scene.used(AWAY, allowed=False)
    assert scene.worker.flush(everything=True) == 0
    assert scene.known() is None


def test_a_network_that_a_key_never_came_from_is_audited_once(scene: Scene) -> None:
    for address in (HOME, NEXT_DOOR, AWAY, HOME, AWAY):
        scene.used(address)
        scene.worker.flush(everything=True)
    assert scene.audited() == [(HOME, '{"network":"192.0.2.0/24"}'), (AWAY, '{"network":"203.0.113.0/24"}')]
    assert [(one.new_networks, one.is_first) for one in scene.news] == [
        (("192.0.2.0/24",), True),
        ((), False),
        (("203.0.113.0/24",), False),
        ((), False),
        ((), False),
    ]


def test_a_key_from_everywhere_fills_no_audit_log(scene: Scene) -> None:
    for third in range(use.AUDITED_MAX + 20):
        scene.used(f"198.18.{third}.1")
        scene.worker.flush(everything=True)
    assert len(scene.audited()) == use.AUDITED_MAX


def test_news_are_written_at_the_next_turn_and_the_usual_now_and_then(scene: Scene) -> None:
    scene.sent(HOME)
    assert scene.worker.flush() == 1
    scene.clock.go(1)
    scene.sent(HOME)
    assert scene.worker.flush() == 0
    scene.used(AWAY)
    assert scene.worker.flush() == 1  # a new address
    scene.sent(HOME, "other.example")
    assert scene.worker.flush() == 1  # a new From domain
    scene.sent(HOME, recipients=use.SOON_RECIPIENTS)
    assert scene.worker.flush() == 1  # a good deal of mail
    scene.sent(HOME)
    scene.clock.go(use.AGAIN_MS / 1000 - 1)
    assert scene.worker.flush() == 0
    scene.clock.go(1)
    assert scene.worker.flush() == 1
    scene.sent(HOME)
    scene.clock.go(-3600)
    assert scene.worker.flush() == 1  # a clock set back stops nothing
    assert scene.hours() == [(0, 1 + 1 + 1 + use.SOON_RECIPIENTS + 1 + 1)]


def test_two_workers_add_up_in_any_order(scene: Scene) -> None:
    first, second = scene.worker, scene.another()
    scene.sent(HOME, recipients=2)
    scene.clock.go(5)
    scene.worker = second
    scene.sent(HOME, recipients=3)
    second.flush()
    first.flush()
    found = scene.known()
    assert found is not None
    assert (found.last_ms - found.first_ms, found.addresses[0].recipients, found.domains[0].recipients) == (5000, 5, 5)
    assert scene.hours() == [(0, 5)]


def test_what_cannot_be_written_is_kept_and_added_up(scene: Scene) -> None:
    scene.sent(HOME, recipients=2)
    with out_of_reach(scene.database), pytest.raises(DatabaseUnavailable):
        scene.worker.flush()
    scene.sent(AWAY, recipients=3)
    scene.worker.flush()
    assert scene.hours() == [(0, 5)]
    found = scene.known()
    assert found is not None
    assert {one.address: one.recipients for one in found.addresses} == {HOME: 2, AWAY: 3}


def test_memory_and_rows_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "NAMES_MAX", 3)
    monkeypatch.setattr(use, "KEPT", 4)
    monkeypatch.setattr(use, "COLLECTED_MAX", 1)
    monkeypatch.setattr(use, "HOURS_KEPT", 2)
    with scene.database.begin() as tx:
        other = a_key(tx, scene.acme)
    for round_ in range(5):
        for number in range(4):
            scene.clock.go(1)
            scene.sent(f"198.18.{round_}.{number}", f"d{round_}{number}.example")
        scene.used(HOME, other)  # one key too many
        scene.worker.flush(everything=True)
        scene.clock.go(3600)
    found = scene.known()
    assert found is not None
    # Of each four the first three are told apart, and of all the last four are kept.
    assert [one.address for one in found.addresses] == ["198.18.4.2", "198.18.4.1", "198.18.4.0", "198.18.3.2"]
    assert len(found.domains) == 4
    assert [recipients for _, recipients in scene.hours()] == [4, 4, 4]
    with scene.database.connect() as tx:
        assert used.uses(tx, other.key.id) is None


def test_of_a_deleted_subuser_nothing_is_left_and_nothing_comes_back(control: Database) -> None:
    clock = FakeClock()
    worker = KeyUse(control, clock.now_ms)
    with control.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        key = a_key(tx, shop)
    for _ in range(2):
        worker.sent(identity_of(shop, key), ip_address(HOME), "example.com", 1)
        worker.flush(everything=True)
        with control.begin() as tx:
            if used.uses(tx, key.key.id) is not None:
                delete_subuser(tx, shop, relay=RELAY, by=BY)
    with control.connect() as tx:
        for table in (used.key_use, used.key_address, used.key_from_domain, used.key_hour):
            assert tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0


def test_any_order_of_uses_and_flushes_loses_nothing(scene: Scene) -> None:
    chance = random.Random(7)  # noqa: S311
    total = 0
    for _ in range(120):
        match chance.randrange(4):
            case 0:
                scene.worker.flush(everything=chance.random() < 0.3)
            case 1:
                scene.clock.go(chance.random() * 1000)
            case _:
                count = chance.randrange(1, 50)
                total += count
                scene.sent(chance.choice([HOME, NEXT_DOOR, AWAY]), chance.choice(["a.example", "b.example"]), count)
    scene.worker.flush(everything=True)
    found = scene.known()
    assert found is not None
    assert sum(one.recipients for one in found.addresses) == total
    assert sum(one.recipients for one in found.domains) == total
    assert sum(recipients for _, recipients in scene.hours()) == total
    assert KeyId(scene.key.key.id) in {one.key_id for one in scene.news}
