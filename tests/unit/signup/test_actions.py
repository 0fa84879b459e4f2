from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from sekisho import accounts, links, signup, users
from sekisho.audit import By
from sekisho.credits import Credits, Reset
from sekisho.db import Database
from sekisho.letters.tables import letter
from sekisho.links import Purpose
from sekisho.refusal import Declined, Obstacle
from sekisho.signup import Terms
from sekisho.signup.actions import Opened
from sekisho.users import Role
from tests.fakes.control import BY, NOW_MS, an_account, audited

TERMS = Terms(daily_credits=200, lift_after_ms=1, lift_delivered=1, lift_bounces_percent=5)
VISITOR = By("visitor", NOW_MS, "192.0.2.1")


class RolledBack(Exception):
    """What a door does with a decline: nothing is changed."""

    def __init__(self, declined: Declined) -> None:
        self.declined = declined


def a_link(control: Database, email: str = "New@example.com") -> str:
    with control.begin() as tx:
        return links.make(tx, Purpose.SIGNUP, at_ms=NOW_MS, email=email).reveal()


def open_account(control: Database, token: str, name: str = "shop") -> Opened | Declined:
    try:
        with control.begin() as tx:
            return _done(
                signup.open_account(tx, token, name=name, password="x", terms=TERMS, language="ja", by=VISITOR)
            )
    except RolledBack as ended:
        return ended.declined


def _done(answer: Opened | Declined) -> Opened:
    if isinstance(answer, Declined):
        raise RolledBack(answer)
    return answer


def test_an_account_is_opened_with_its_owner_and_tight_credits(control: Database) -> None:
    opened = open_account(control, a_link(control))
    assert isinstance(opened, Opened)
    assert opened.account.credits == Credits(opened.account.id, 200, Reset.DAILY, NOW_MS)
    owner = opened.owner
    assert (owner.username, owner.email, owner.login_email) == ("shop", "New@example.com", "new@example.com")
    assert (owner.role, owner.language) == (Role.OWNER, "ja")
    with control.connect() as tx:
        assert accounts.find_account(tx, "shop") == opened.account
        found = signup.probation_of(tx, opened.account.id)
        assert found is not None
        assert signup.on_probation(tx) == (found,)
    assert [action for action, _ in audited(control)] == ["account.create", "user.create", "account.credits"]


def test_a_link_opens_one_account_also_when_it_is_used_twice_at_once(control: Database) -> None:
    token = a_link(control)
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda name: open_account(control, token, name), ["one", "two"]))
    assert sorted(isinstance(one, Opened) for one in answers) == [False, True]
    with control.connect() as tx:
        assert len(accounts.list_accounts(tx)) == 1


def test_a_name_that_is_taken_leaves_the_link_good(control: Database) -> None:
    with control.begin() as tx:
        an_account(tx)
    token = a_link(control)
    declined = open_account(control, token, "ACME")
    assert isinstance(declined, Declined)
    assert declined.obstacle is Obstacle.ACCOUNT_TAKEN
    assert isinstance(open_account(control, token, "shop"), Opened)


def test_an_address_that_logs_in_already_opens_no_second_account(control: Database) -> None:
    first = a_link(control)
    assert isinstance(open_account(control, first), Opened)
    declined = open_account(control, a_link(control, "new@EXAMPLE.com"), "other")
    assert isinstance(declined, Declined)
    assert declined.obstacle is Obstacle.EMAIL_TAKEN


def test_a_link_for_something_else_opens_nothing(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        token = links.make(tx, Purpose.SETUP, at_ms=NOW_MS, email="a@example.com", account_id=acme.id).reveal()
    declined = open_account(control, token)
    assert isinstance(declined, Declined)
    assert declined.obstacle is Obstacle.LINK_SPENT


def test_lifting_ends_the_grant_is_audited_and_told_once(control: Database) -> None:
    opened = open_account(control, a_link(control))
    assert isinstance(opened, Opened)
    with control.begin() as tx:
        found = signup.probation_of(tx, opened.account.id)
        assert found is not None
        assert [signup.lift(tx, found, by=BY) for _ in range(2)] == [True, False]
        assert accounts.credits_of(tx, opened.account.id) is None
        assert signup.on_probation(tx) == ()
        told = tx.execute(sa.select(letter.c.kind, letter.c.to_email, letter.c.language)).all()
    assert [tuple(row) for row in told] == [("limits_lifted", "New@example.com", "ja")]
    assert ("account.limits_lifted", "shop") in audited(control)


def test_a_grant_of_the_operators_own_stays(control: Database) -> None:
    opened = open_account(control, a_link(control))
    assert isinstance(opened, Opened)
    own = Credits(opened.account.id, 5, None, NOW_MS + 1)
    with control.begin() as tx:
        accounts.grant_credits(tx, opened.account, own, by=BY)
        found = signup.probation_of(tx, opened.account.id)
        assert found is not None
        signup.lift(tx, found, by=BY)
        assert accounts.credits_of(tx, opened.account.id) == own


def test_a_disabled_account_earns_nothing(control: Database) -> None:
    opened = open_account(control, a_link(control))
    assert isinstance(opened, Opened)
    with control.begin() as tx:
        accounts.disable(tx, opened.account, by=BY)
        assert signup.on_probation(tx) == ()


# The owners of accounts that the operator made.


def test_a_set_up_link_makes_one_owner(control: Database) -> None:
    with control.begin() as tx:
        path = signup.owner_link(tx, an_account(tx), by=BY)
    kind, _, token = path.removeprefix("/").partition("/")
    assert kind == "setup"
    with control.begin() as tx:
        owner = signup.set_up(tx, token, password="x", language="en", by=VISITOR)
    assert not isinstance(owner, Declined)
    assert (owner.username, owner.login_email, owner.role) == ("acme", "owner@example.com", Role.OWNER)
    with control.begin() as tx:
        again = signup.set_up(tx, token, password="y", language="en", by=VISITOR)
    assert isinstance(again, Declined)
    assert again.obstacle is Obstacle.LINK_SPENT


def test_where_there_is_an_owner_the_link_is_for_a_new_password_and_proves_nothing(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        owner = users.add(tx, acme, username="ann", email="ann@example.com", password="x", by=BY)
        assert not isinstance(owner, Declined)
        path = signup.owner_link(tx, acme, by=BY)
    kind, _, token = path.removeprefix("/").partition("/")
    assert kind == "reset"
    with control.connect() as tx:
        link = links.find(tx, Purpose.RESET, token, now_ms=NOW_MS)
    assert link is not None
    assert (link.user_id, link.email) == (owner.id, None)


@pytest.mark.parametrize("email", ["nobody", "a@[192.0.2.1]", ""])
def test_only_addresses_are_invited(control: Database, email: str) -> None:
    with control.begin() as tx:
        declined = signup.invite(tx, email, by_letter=True, by=BY)
    assert isinstance(declined, Declined)
    assert declined.obstacle is Obstacle.EMAIL_MALFORMED
