from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

import pytest

from sekisho import notices
from sekisho.apikeys.actions import Issued, release
from sekisho.apikeys.model import HoldReason
from sekisho.apikeys.tables import find_key
from sekisho.apikeys.use import HOUR_MS, KeyUse
from sekisho.db import Database
from sekisho.identity import Identity, KeyPolicy
from sekisho.leaks.anomaly import DAY_MS, DOMAIN_MIN, JUMP_MIN, NEW_MS, Past, Present, judge, judge_uses
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, NO_LIMITS, NOW_MS, a_key, an_account

WEEKS = Past(NOW_MS - 20 * DAY_MS, active_hours=100, busiest=100, networks_lately=1)
THIEF = Present(("203.0.113.0/24",), recipients=400, hour=400, domains=())
IMPOSTOR = Present(("203.0.113.0/24",), recipients=60, hour=60, domains=("brand.example",))


@pytest.mark.parametrize(
    ("past", "present", "why"),
    [
        # A new place, and much more than ever.
        (WEEKS, THIEF, "400 recipients in an hour; its busiest hour until then had 100"),
        (WEEKS, replace(THIEF, hour=300), "300 recipients"),
        (WEEKS, replace(THIEF, hour=299), None),  # more, but not that much more
        (WEEKS, replace(THIEF, recipients=JUMP_MIN - 1), None),  # the jump is somebody else's, at home
        (replace(WEEKS, busiest=5), replace(THIEF, recipients=150, hour=150), None),  # thirty times of nearly nothing
        (replace(WEEKS, busiest=50_000), replace(THIEF, hour=50_000, recipients=25_000), None),  # a move, work as ever
        (WEEKS, replace(THIEF, networks=()), None),  # a campaign from the usual servers
        # A new place, and as somebody else of the account.
        (WEEKS, IMPOSTOR, "with From in brand.example, which it never used before"),
        (WEEKS, replace(IMPOSTOR, recipients=DOMAIN_MIN - 1), None),  # somebody tries a new setting
        (WEEKS, replace(IMPOSTOR, networks=()), None),  # a new brand from the usual servers
        (WEEKS, replace(IMPOSTOR, domains=()), None),  # a new server at its usual work
        # Not enough to compare with.
        (replace(WEEKS, first_ms=None), THIEF, None),
        (replace(WEEKS, first_ms=NOW_MS - 7 * DAY_MS + 1), THIEF, None),
        (replace(WEEKS, first_ms=NOW_MS - 7 * DAY_MS), THIEF, "400 recipients"),
        (replace(WEEKS, active_hours=4), THIEF, None),
        (replace(WEEKS, active_hours=5), THIEF, "400 recipients"),
        # It comes from everywhere.
        (replace(WEEKS, networks_lately=5), THIEF, None),
        (replace(WEEKS, networks_lately=4), THIEF, "400 recipients"),
        # Both are told of in few words.
        (WEEKS, replace(THIEF, networks=tuple("abcde")), "from a, b, c and 2 more, from where"),
    ],
)
def test_what_is_held_and_what_is_not(past: Past, present: Present, why: str | None) -> None:
    found = judge(past, present, NOW_MS)
    assert found is None if why is None else why in (found or "")


HOME, AWAY, ELSEWHERE = "192.0.2.7", "203.0.113.9", "198.51.100.1"


@dataclass
class Scene:
    """A key with a history of ten working days, 40 recipients in each of eight hours."""

    database: Database
    policy: KeyPolicy = NO_LIMITS
    clock: FakeClock = field(default_factory=lambda: FakeClock(at_ms=NOW_MS // DAY_MS * DAY_MS - 10 * DAY_MS))

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            self.acme = an_account(tx)
            self.key: Issued = a_key(tx, self.acme, self.policy)
        self.use = KeyUse(self.database, self.clock.now_ms, judge_uses)
        for _ in range(10):
            for _ in range(8):
                self.note(HOME, 40)
                self.clock.go(3600)
            self.clock.go(16 * 3600)
        self.use.flush()

    def send(self, address: str, recipients: int, domain: str = "example.com") -> None:
        self.note(address, recipients, domain)
        self.use.flush()

    def note(self, address: str, recipients: int, domain: str = "example.com") -> None:
        key = self.key.key
        identity = Identity(key.account_id, key.subuser_id, key.id, frozenset(), key.policy)
        self.use.used(identity, ip_address(address), True)
        self.use.sent(identity, ip_address(address), domain, recipients)

    def held(self) -> str | None:
        with self.database.connect() as tx:
            found = find_key(tx, self.key.key.id)
        assert found is not None
        if found.hold is None:
            return None
        assert found.hold.reason is HoldReason.ANOMALY
        return found.hold.text

    def release(self) -> None:
        with self.database.begin() as tx:
            found = find_key(tx, self.key.key.id)
            assert found is not None
            release(tx, found, by=replace(BY, at_ms=self.clock.now_ms()))


@pytest.fixture
def scene(control: Database) -> Scene:
    return Scene(control)


def test_a_stolen_key_is_held_within_its_first_hundreds_and_its_owner_told(scene: Scene) -> None:
    for _ in range(5):
        scene.send(AWAY, 50)
        scene.clock.go(1)
    text = scene.held()
    assert text == (
        "it was used from 203.0.113.0/24, from where it never was before, and sent to 250 recipients in an hour;"
        " its busiest hour until then had 40"
    )
    with scene.database.connect() as tx:
        [notice] = notices.listing(tx, scene.acme.id, limit=9)
    assert (notice.kind, notice.subject) == ("key.held", scene.key.key.id)
    assert text in notice.text


def test_who_logs_in_and_waits_an_hour_is_noticed_all_the_same(scene: Scene) -> None:
    scene.send(AWAY, 1)
    scene.clock.go(5 * 3600)
    scene.send(AWAY, 300)
    assert scene.held() is not None


def test_after_a_day_a_place_is_usual(scene: Scene) -> None:
    scene.send(AWAY, 1)
    scene.clock.go(NEW_MS / 1000 + 1)
    scene.send(AWAY, 300)
    assert scene.held() is None


def test_a_new_brand_from_a_new_place_is_held_and_from_the_usual_one_not(scene: Scene) -> None:
    scene.send(HOME, 60, "brand.example")
    assert scene.held() is None
    scene.send(AWAY, 60, "other.example")
    assert "other.example" in (scene.held() or "")


def test_what_its_owner_released_is_usual_and_the_next_place_is_not(scene: Scene) -> None:
    scene.send(AWAY, 300)
    assert scene.held() is not None
    scene.clock.go(60)
    scene.release()
    for _ in range(10):
        scene.send(AWAY, 300)
        scene.clock.go(60)
    assert scene.held() is None
    scene.clock.go(3600)
    scene.send(ELSEWHERE, 20_000)
    assert "198.51.100.0/24" in (scene.held() or "")


def test_a_key_with_a_list_of_addresses_is_not_judged(control: Database) -> None:
    scene = Scene(control, KeyPolicy(ips=(ip_network("0.0.0.0/0"), ip_network("::/0"))))
    scene.send(AWAY, 5000)
    assert scene.held() is None


def test_a_key_that_comes_from_everywhere_is_not_judged(scene: Scene) -> None:
    for number in range(6):
        scene.send(f"198.18.{number}.1", 1)
        scene.clock.go(NEW_MS / 1000)
    scene.send(AWAY, 5000)
    assert scene.held() is None


def test_hours_in_utc_do_not_hide_a_jump_for_long(scene: Scene) -> None:
    # Half before the hour and half after it: the second hour has it all the same.
    scene.clock.go(HOUR_MS / 1000 - 2)
    scene.send(AWAY, 110)
    scene.clock.go(4)
    scene.send(AWAY, 110)
    assert scene.held() is None
    scene.send(AWAY, 110)
    assert scene.held() is not None
