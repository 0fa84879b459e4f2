from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from threading import Barrier

import pytest
import sqlalchemy as sa

from sekisho import ipaccess
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.changes import ChangeKind
from sekisho.db import Database
from sekisho.ipaccess import Rule, roll_back
from sekisho.ipaccess.actions import RULES_MAX, TRIAL_MS, is_due
from sekisho.ipaccess.tables import access_activity, access_pending, access_rule
from sekisho.policy.closing import delete_subuser
from sekisho.refusal import Declined, Obstacle
from tests.fakes.control import BY, NOW_MS, RELAY, a_subuser, an_account, audited, changes_in

HERE = ip_address("192.0.2.7")
THERE = ip_address("198.51.100.1")


@dataclass
class Scene:
    """An account and its list."""

    database: Database
    acme: Account
    now_ms: int = NOW_MS

    @property
    def by(self) -> By:
        return By("person:ann", self.now_ms, str(HERE))

    def add(self, *entries: str, whose: Account | None = None) -> tuple[Rule, ...]:
        with self.database.begin() as tx:
            owner = whose or self.acme
            made = ipaccess.add(tx, owner.id, entries, caller=None, confirmed=False, by=self.by)
        assert not isinstance(made, Declined), made
        self.now_ms += 1  # what is added later is listed later
        return made

    def remove(self, *rules: Rule) -> None:
        with self.database.begin() as tx:
            ids = [rule.id for rule in rules]
            gone = ipaccess.remove(tx, self.acme.id, ids, caller=None, confirmed=False, by=self.by)
            assert not isinstance(gone, Declined), gone

    def try_out(self, *entries: str) -> None:
        with self.database.begin() as tx:
            until_ms = self.now_ms + TRIAL_MS
            made = ipaccess.replace_provisionally(tx, self.acme.id, entries, until_ms=until_ms, by=self.by)
            assert not isinstance(made, Declined), made

    def confirm(self, address: str) -> Declined | None:
        with self.database.begin() as tx:
            return ipaccess.confirm(tx, self.acme.id, address=ip_address(address), by=self.by)

    def pass_by(self, ms: int) -> int:
        """Let time pass, and the task look; how many lists it brought back."""
        self.now_ms += ms
        with self.database.begin() as tx:
            return ipaccess.roll_back_due(tx, self.now_ms)

    def rules(self, whose: Account | None = None) -> list[Rule]:
        with self.database.connect() as tx:
            return list(ipaccess.rules_of(tx, (whose or self.acme).id))

    @property
    def listed(self) -> list[str]:
        return [str(rule.network) for rule in self.rules()]

    @property
    def until_ms(self) -> int | None:
        with self.database.connect() as tx:
            return ipaccess.pending_until(tx, self.acme.id)


@pytest.fixture
def scene(control: Database) -> Scene:
    with control.begin() as tx:
        acme = an_account(tx)
    return Scene(control, acme)


def news(scene: Scene) -> list[str]:
    return [change.subject for change in changes_in(scene.database) if change.kind is ChangeKind.ACCESS_CHANGED]


def test_each_change_is_audited_and_told_to_caches(scene: Scene) -> None:
    one, two = scene.add("192.0.2.7", "192.0.2.8")
    scene.remove(one)
    with scene.database.begin() as tx:
        assert ipaccess.clear(tx, scene.acme.id, by=BY) == (two,)
    subject = str(scene.acme.id)
    assert audited(scene.database)[1:] == [
        ("access.add", subject),
        ("access.remove", subject),
        ("access.clear", subject),
    ]
    assert news(scene) == [subject] * 3


def test_what_changes_nothing_is_told_to_nobody(scene: Scene) -> None:
    scene.add("192.0.2.7")
    before = audited(scene.database), news(scene)
    scene.add("192.0.2.7/32", "::ffff:192.0.2.7")
    scene.remove()
    with scene.database.begin() as tx:
        ipaccess.clear(tx, an_account(tx, "other").id, by=BY)
    assert (audited(scene.database)[:-1], news(scene)) == before


def test_ids_do_not_count(scene: Scene) -> None:
    made = scene.add(*(f"192.0.2.{number}" for number in range(50)))
    assert [rule.network for rule in scene.rules()] == [rule.network for rule in made]
    gaps = {after.id - before.id for before, after in pairwise(made)}
    assert len(gaps) > 40
    assert all(0 < rule.id < 2**31 for rule in made)


def test_declined_is_unchanged(scene: Scene) -> None:
    scene.add("192.0.2.7", "192.0.2.8")
    before = scene.rules(), audited(scene.database)
    mine = before[0][0]

    def declined(act: Callable[[sa.Connection], object]) -> Obstacle:
        with scene.database.begin() as tx:
            answer = act(tx)
        assert isinstance(answer, Declined)
        return answer.obstacle

    owner = scene.acme.id
    more = [f"10.0.{number // 250}.{number % 250}" for number in range(RULES_MAX - 1)]
    assert (
        declined(lambda tx: ipaccess.add(tx, owner, more, caller=HERE, confirmed=True, by=BY))
        is Obstacle.ACCESS_RULES_TOO_MANY
    )
    assert (
        declined(lambda tx: ipaccess.add(tx, owner, ["192.0.2.9", "nonsense"], caller=HERE, confirmed=True, by=BY))
        is Obstacle.ACCESS_RULE_MALFORMED
    )
    assert (
        declined(lambda tx: ipaccess.add(tx, owner, ["192.0.2.9"], caller=THERE, confirmed=False, by=BY))
        is Obstacle.ACCESS_EXCLUDES_CALLER
    )
    assert (
        declined(lambda tx: ipaccess.remove(tx, owner, [mine.id], caller=HERE, confirmed=False, by=BY))
        is Obstacle.ACCESS_EXCLUDES_CALLER
    )
    assert (
        declined(lambda tx: ipaccess.remove(tx, owner, [mine.id, mine.id - 1], caller=HERE, confirmed=True, by=BY))
        is Obstacle.ACCESS_RULE_UNKNOWN
    )
    assert (scene.rules(), audited(scene.database)) == before


def test_two_who_add_at_once_never_pass_the_bound(scene: Scene) -> None:
    scene.add(*(f"10.0.{number // 250}.{number % 250}" for number in range(RULES_MAX - 1)))
    together = Barrier(4)

    def one_more(number: int) -> bool:
        together.wait()
        with scene.database.begin() as tx:
            entries = [f"10.9.0.{number}"]
            made = ipaccess.add(tx, scene.acme.id, entries, caller=None, confirmed=False, by=BY)
        return not isinstance(made, Declined)

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(one_more, range(4))) == [False, False, False, True]
    assert len(scene.rules()) == RULES_MAX


def test_lists_of_others_are_not_touched(scene: Scene) -> None:
    with scene.database.begin() as tx:
        shop = a_subuser(tx, scene.acme)
    scene.add("192.0.2.7")
    (theirs,) = scene.add("192.0.2.7", whose=shop)
    with scene.database.begin() as tx:
        assert ipaccess.find_rule(tx, scene.acme.id, theirs.id) is None
        assert isinstance(ipaccess.remove(tx, scene.acme.id, [theirs.id], caller=None, confirmed=True, by=BY), Declined)
        ipaccess.clear(tx, scene.acme.id, by=BY)
    assert scene.rules(shop) == [theirs]


# Lists on trial.


def test_a_list_on_trial_is_in_force_and_rolls_back_unless_confirmed(scene: Scene) -> None:
    before = scene.add("192.0.2.7", "192.0.2.8")
    scene.try_out("192.0.2.8", "198.51.100.1")
    assert scene.listed == ["192.0.2.8/32", "198.51.100.1/32"]
    assert scene.pass_by(TRIAL_MS - 1) == 0
    told = len(news(scene))
    assert scene.pass_by(1) == 1
    assert scene.rules() == list(before)  # ids and times too
    assert scene.until_ms is None
    assert audited(scene.database)[-1] == ("access.roll_back", str(scene.acme.id))
    assert len(news(scene)) == told + 1
    assert scene.pass_by(TRIAL_MS) == 0


def test_whoever_regrets_it_has_the_list_back_at_once(scene: Scene) -> None:
    before = scene.add("192.0.2.7", "192.0.2.8")
    scene.try_out("198.51.100.1")
    told = len(news(scene))
    with scene.database.begin() as tx:
        assert roll_back(tx, scene.acme.id, by=BY) is None
    assert scene.rules() == list(before)
    assert scene.until_ms is None
    assert audited(scene.database)[-1] == ("access.roll_back", str(scene.acme.id))
    assert len(news(scene)) == told + 1
    with scene.database.begin() as tx:
        again = roll_back(tx, scene.acme.id, by=BY)
    assert again is not None
    assert again.obstacle is Obstacle.ACCESS_NOT_PENDING


def test_a_list_that_was_open_is_open_again(scene: Scene) -> None:
    scene.try_out("198.51.100.1")
    scene.pass_by(TRIAL_MS)
    assert scene.rules() == []


def test_it_stays_when_confirmed_from_an_address_on_it(scene: Scene) -> None:
    scene.add("192.0.2.7")
    scene.try_out("198.51.100.0/24")
    refused = scene.confirm("192.0.2.7")
    assert refused is not None
    assert refused.obstacle is Obstacle.ACCESS_EXCLUDES_CALLER
    assert scene.until_ms is not None
    assert scene.confirm("::ffff:198.51.100.9") is None
    assert audited(scene.database)[-1] == ("access.confirm", str(scene.acme.id))
    assert scene.pass_by(10 * TRIAL_MS) == 0
    assert scene.listed == ["198.51.100.0/24"]
    again = scene.confirm("198.51.100.9")
    assert again is not None
    assert again.obstacle is Obstacle.ACCESS_NOT_PENDING


def test_a_confirmation_that_comes_too_late_saves_nothing(scene: Scene) -> None:
    scene.add("192.0.2.7")
    scene.try_out("198.51.100.1")
    scene.now_ms += TRIAL_MS
    late = scene.confirm("198.51.100.1")
    assert late is not None
    assert late.obstacle is Obstacle.ACCESS_NOT_PENDING
    assert scene.pass_by(0) == 1
    assert scene.listed == ["192.0.2.7/32"]


def test_a_second_trial_comes_back_to_what_was_last_confirmed(scene: Scene) -> None:
    scene.add("192.0.2.7")
    scene.try_out("198.51.100.1")
    scene.now_ms += TRIAL_MS // 2
    scene.try_out("198.51.100.2")
    assert scene.pass_by(TRIAL_MS // 2) == 0
    assert scene.pass_by(TRIAL_MS // 2) == 1
    assert scene.listed == ["192.0.2.7/32"]


def test_what_the_api_changes_during_a_trial_persists(scene: Scene) -> None:
    one, two = scene.add("192.0.2.7", "192.0.2.8")
    scene.try_out("192.0.2.7", "192.0.2.8", "198.51.100.1")
    (added,) = scene.add("203.0.113.1")
    scene.remove(two)
    assert scene.pass_by(TRIAL_MS) == 1
    assert scene.rules() == [one, added]


def test_a_list_of_which_nothing_is_left_does_not_come_back_as_an_open_one(scene: Scene) -> None:
    (one,) = scene.add("192.0.2.7")
    scene.try_out("192.0.2.7", "198.51.100.1")
    scene.remove(one)
    assert scene.pass_by(TRIAL_MS) == 0
    assert scene.listed == ["198.51.100.1/32"]
    assert ("access.confirm", str(scene.acme.id)) in audited(scene.database)


def test_an_addition_does_not_close_the_open_list_that_comes_back(scene: Scene) -> None:
    scene.try_out("198.51.100.1")
    scene.add("203.0.113.1")
    scene.pass_by(TRIAL_MS)
    assert scene.rules() == []


def test_an_operator_who_empties_a_list_ends_its_trial(scene: Scene) -> None:
    scene.add("192.0.2.7")
    scene.try_out("198.51.100.1")
    with scene.database.begin() as tx:
        ipaccess.clear(tx, scene.acme.id, by=BY)
    assert scene.until_ms is None
    assert scene.pass_by(TRIAL_MS) == 0
    assert scene.rules() == []


def test_an_id_that_went_to_somebody_else_meanwhile_is_replaced(scene: Scene) -> None:
    (rule,) = scene.add("192.0.2.7")
    scene.try_out("198.51.100.1")
    with scene.database.begin() as tx:
        other = an_account(tx, "other")
        row = {"id": rule.id, "owner_id": other.id, "network": "203.0.113.1/32", "created_ms": 1, "updated_ms": 1}
        tx.execute(sa.insert(access_rule).values(row))
    scene.pass_by(TRIAL_MS)
    (back,) = scene.rules()
    assert back.network == rule.network
    assert back.id != rule.id
    assert [one.id for one in scene.rules(other)] == [rule.id]


def test_only_what_is_due_is_rolled_back(scene: Scene) -> None:
    scene.try_out("198.51.100.1")
    with scene.database.begin() as tx:
        other = an_account(tx, "other")
        ipaccess.replace_provisionally(tx, other.id, ["192.0.2.1"], until_ms=NOW_MS + TRIAL_MS + 1, by=BY)
        assert not is_due(tx, NOW_MS + TRIAL_MS - 1)
        assert is_due(tx, NOW_MS + TRIAL_MS)
    assert scene.pass_by(TRIAL_MS) == 1
    assert len(scene.rules(other)) == 1


def test_a_trial_is_bounded_and_read_as_any_list(scene: Scene) -> None:
    with scene.database.begin() as tx:
        for entries in (["nonsense"], [f"10.0.{number // 250}.{number % 250}" for number in range(RULES_MAX + 1)]):
            answer = ipaccess.replace_provisionally(tx, scene.acme.id, entries, until_ms=NOW_MS, by=BY)
            assert isinstance(answer, Declined)
    assert (scene.rules(), scene.until_ms) == ([], None)


def test_a_subuser_that_is_deleted_leaves_nothing(scene: Scene) -> None:
    with scene.database.begin() as tx:
        shop = a_subuser(tx, scene.acme)
        ipaccess.replace_provisionally(tx, shop.id, ["192.0.2.7"], until_ms=NOW_MS, by=BY)
        values = {"owner_id": shop.id, "address": "192.0.2.7", "method": "API", "allowed": True}
        tx.execute(sa.insert(access_activity).values(**values, first_ms=1, last_ms=1))
    with scene.database.begin() as tx:
        delete_subuser(tx, shop, relay=RELAY, by=BY)
        for table in (access_rule, access_pending, access_activity):
            assert tx.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
