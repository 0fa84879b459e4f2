from __future__ import annotations

import pytest
import sqlalchemy as sa

from sekisho.accounts import Account
from sekisho.apikeys import given, scopes
from sekisho.apikeys.actions import Change, Issued, Wish, release, revoke
from sekisho.apikeys.model import ApiKey
from sekisho.apikeys.tables import Owner, find_key, find_key_within, holding_mail_of
from sekisho.db import Database
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, KeyId
from sekisho.refusal import Declined, Obstacle
from tests.fakes.control import BY, NO_LIMITS, a_key, a_subuser, an_account

LIMITED = KeyPolicy(from_domains=frozenset({"example.com"}))


def granter(owner: Account, *held: str, policy: KeyPolicy = NO_LIMITS) -> Identity:
    return Identity(owner.account_id, owner.subuser_id, KeyId("user-7"), frozenset(held), policy)


def obstacle(answer: object) -> Obstacle:
    assert isinstance(answer, Declined)
    return answer.obstacle


@pytest.fixture
def acme(control: Database) -> Account:
    with control.begin() as tx:
        return an_account(tx)


def issue(tx: sa.Connection, owner: Account, by_whom: Identity, wish: Wish) -> ApiKey:
    made = given.issue(tx, by_whom, owner, wish, by=BY)
    assert isinstance(made, Issued)
    return made.key


def test_without_scopes_a_key_gets_all_that_its_maker_may_give(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        shop = a_subuser(tx, acme)
        some = issue(tx, acme, granter(acme, "mail.send", "stats.read"), Wish("some", NO_LIMITS, maker_id=7))
        assert (some.given, some.maker_id) == (frozenset({"mail.send", "stats.read"}), 7)
        assert issue(tx, acme, granter(acme, *scopes.ALL), Wish("all", NO_LIMITS)).given is None
        theirs = issue(tx, shop, granter(acme, "mail.send", "subusers.read"), Wish("theirs", NO_LIMITS))
        assert theirs.given == frozenset({"mail.send"})


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish("x", NO_LIMITS, ["stats.read"]), Obstacle.SCOPE_UNASSIGNABLE),
        (Wish("x", NO_LIMITS, ["no.such"]), Obstacle.SCOPE_UNKNOWN),
        (Wish("x", NO_LIMITS, ["mail.send"]), Obstacle.POLICY_UNASSIGNABLE),
        (Wish("", LIMITED, ["mail.send"]), Obstacle.KEY_MALFORMED),
    ],
)
def test_nobody_gives_what_he_lacks(control: Database, acme: Account, wish: Wish, expected: Obstacle) -> None:
    maker = granter(acme, "mail.send", policy=LIMITED)
    with control.begin() as tx:
        assert obstacle(given.issue(tx, maker, acme, wish, by=BY)) is expected


def test_a_key_that_may_do_more_is_out_of_reach_and_none_is_made_to(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        strong = a_key(tx, acme).key
        weak = a_key(tx, acme, scopes=frozenset({"mail.send"})).key
        maker = granter(acme, "mail.send", "api_keys.update")
        assert obstacle(given.change(tx, maker, strong, Change("y"), by=BY)) is Obstacle.KEY_OUT_OF_REACH
        more = given.change(tx, maker, weak, Change(scopes=["mail.send", "stats.read"]), by=BY)
        assert obstacle(more) is Obstacle.SCOPE_UNASSIGNABLE
        unknown = given.change(tx, maker, weak, Change(scopes=["no.such"]), by=BY)
        assert obstacle(unknown) is Obstacle.SCOPE_UNKNOWN
        narrow = granter(acme, "mail.send", policy=LIMITED)
        mine = a_key(tx, acme, LIMITED, frozenset({"mail.send"})).key
        assert obstacle(given.change(tx, narrow, mine, Change(policy=NO_LIMITS), by=BY)) is Obstacle.POLICY_UNASSIGNABLE
        renamed = given.change(tx, maker, weak, Change("y", ["mail.send"]), by=BY)
        assert isinstance(renamed, ApiKey)
        assert renamed.name == "y"
        assert find_key(tx, strong.id) == strong


def test_an_account_finds_its_subusers_keys_and_nobody_elses(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        shop, kiosk, other = a_subuser(tx, acme), a_subuser(tx, acme, "kiosk"), an_account(tx, "other")
        key = a_key(tx, shop).key
        assert find_key_within(tx, Owner(acme.id, None), key.id) == key
        assert find_key_within(tx, Owner(acme.id, shop.id), key.id) == key
        assert find_key_within(tx, Owner(acme.id, kiosk.id), key.id) is None
        assert find_key_within(tx, Owner(other.id, None), key.id) is None
        assert find_key_within(tx, Owner(AccountId(acme.id), None), "nothing") is None


def test_compromised_keys_are_listed_until_their_mail_is_let_go(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner = Owner(acme.id, None)
        ended, leaked, theirs = a_key(tx, acme).key, a_key(tx, acme).key, a_key(tx, a_subuser(tx, acme)).key
        revoke(tx, ended.id, compromised=False, by=BY)
        for key in (leaked, theirs):
            revoke(tx, key.id, compromised=True, by=BY)
        (found,) = holding_mail_of(tx, owner, limit=9)
        assert found.id == leaked.id
        release(tx, found, by=BY)
        assert holding_mail_of(tx, owner, limit=9) == ()
