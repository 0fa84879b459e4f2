"""New accounts earn what they may send by what became of their mail, their subusers' included."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sekisho import accounts, links, signup
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.db import Database
from sekisho.events.tables import event_day
from sekisho.links import Purpose
from sekisho.service.config import NewAccounts
from sekisho.service.probation import lift_earned, terms_of
from sekisho.signup import Terms
from sekisho.signup.actions import Opened
from tests.fakes.control import NOW_MS, a_subuser, audited

DAY_MS = 86_400_000
TODAY = NOW_MS // DAY_MS
TERMS = Terms(daily_credits=200, lift_after_ms=DAY_MS, lift_delivered=100, lift_bounces_percent=5)
LATER_MS = NOW_MS + DAY_MS


def opened(control: Database, name: str) -> Account:
    """An account that somebody opened himself, now."""
    email = f"{name}@example.com"
    with control.begin() as tx:
        token = links.make(tx, Purpose.SIGNUP, at_ms=NOW_MS, email=email).reveal()
        by = By("visitor", NOW_MS, "192.0.2.1")
        made = signup.open_account(tx, token, name=name, password="x", terms=TERMS, language="en", by=by)
    assert isinstance(made, Opened)
    return made.account


def sent(events: Database, by: Account, count: int, kind: str = "delivered", day: int = TODAY) -> None:
    counter = {"account_id": by.account_id, "subuser_id": by.subuser_id or 0, "day": day, "kind": kind, "count": count}
    with events.begin() as tx:
        tx.execute(sa.insert(event_day).values(counter))


def limited(control: Database, account: Account) -> bool:
    with control.connect() as tx:
        return accounts.credits_of(tx, account.account_id) is not None


def test_the_first_limit_goes_once_it_is_earned(control: Database, event_store: Database) -> None:
    good, quiet = opened(control, "good"), opened(control, "quiet")
    sent(event_store, good, 100)
    sent(event_store, good, 5, "bounce")
    sent(event_store, quiet, 99)
    assert lift_earned(control, event_store, TERMS, LATER_MS - 1) == 0
    assert lift_earned(control, event_store, TERMS, LATER_MS) == 1
    assert (limited(control, good), limited(control, quiet)) == (False, True)
    assert ("account.limits_lifted", "good") in audited(control)
    assert lift_earned(control, event_store, TERMS, LATER_MS) == 0


def test_what_subusers_send_counts_as_well(control: Database, event_store: Database) -> None:
    good, bad = opened(control, "good"), opened(control, "bad")
    with control.begin() as tx:
        shop, spam = a_subuser(tx, good, "shop"), a_subuser(tx, bad, "spam")
    sent(event_store, good, 60)
    sent(event_store, shop, 40)
    sent(event_store, bad, 100)
    sent(event_store, spam, 50, "bounce")
    assert lift_earned(control, event_store, TERMS, LATER_MS) == 1
    assert (limited(control, good), limited(control, bad)) == (False, True)


@pytest.mark.parametrize("kind", ["bounce", "blocked"])
def test_mail_that_came_back_keeps_it(control: Database, event_store: Database, kind: str) -> None:
    account = opened(control, "shop")
    sent(event_store, account, 100)
    sent(event_store, account, 6, kind)
    assert lift_earned(control, event_store, TERMS, LATER_MS) == 0
    assert limited(control, account)


def test_mail_of_long_ago_counts_no_more(control: Database, event_store: Database) -> None:
    old, recent = opened(control, "old"), opened(control, "recent")
    now_ms = NOW_MS + 40 * DAY_MS
    first = now_ms // DAY_MS - 29
    sent(event_store, old, 100, day=first - 1)
    sent(event_store, recent, 100, day=first)
    assert lift_earned(control, event_store, TERMS, now_ms) == 1
    assert (limited(control, old), limited(control, recent)) == (True, False)


def test_the_terms_are_the_configurations() -> None:
    config = NewAccounts(daily_credits=7, lift_after_s=1.5, lift_delivered=8, lift_bounces_percent=2.5)
    assert terms_of(config) == Terms(daily_credits=7, lift_after_ms=1500, lift_delivered=8, lift_bounces_percent=2.5)
