from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from sekisho import links
from sekisho.db import Database
from sekisho.ids import AccountId
from sekisho.links import LIFETIME_MS, Link, Purpose
from sekisho.links.actions import KEPT_MS
from sekisho.links.tables import link
from tests.fakes.control import NOW_MS, an_account


def found(control: Database, purpose: Purpose, token: str, now_ms: int = NOW_MS) -> Link | None:
    with control.connect() as tx:
        return links.find(tx, purpose, token, now_ms=now_ms)


def used(control: Database, purpose: Purpose, token: str, at_ms: int = NOW_MS) -> Link | None:
    with control.begin() as tx:
        return links.use(tx, purpose, token, at_ms=at_ms)


@pytest.fixture
def setup(control: Database) -> str:
    """The token of a set-up link."""
    with control.begin() as tx:
        acme = an_account(tx)
        return links.make(tx, Purpose.SETUP, at_ms=NOW_MS, email="o@example.com", account_id=acme.id).reveal()


def test_a_link_is_good_once_and_looking_does_not_use_it_up(control: Database, setup: str) -> None:
    assert [found(control, Purpose.SETUP, setup) is not None for _ in range(2)] == [True, True]
    one = used(control, Purpose.SETUP, setup)
    assert one is not None
    assert (one.email, one.account_id) == ("o@example.com", 1)
    assert used(control, Purpose.SETUP, setup) is None
    assert found(control, Purpose.SETUP, setup) is None


def test_of_many_who_use_it_at_once_one_wins(control: Database, setup: str) -> None:
    together = threading.Barrier(8)

    def race(_: int) -> Link | None:
        together.wait()
        return used(control, Purpose.SETUP, setup)

    with ThreadPoolExecutor(8) as threads:
        assert [one is not None for one in threads.map(race, range(8))].count(True) == 1


def test_what_is_rolled_back_uses_nothing_up(control: Database, setup: str) -> None:
    with contextlib.suppress(ZeroDivisionError), control.begin() as tx:
        assert links.use(tx, Purpose.SETUP, setup, at_ms=NOW_MS) is not None
        raise ZeroDivisionError
    assert used(control, Purpose.SETUP, setup) is not None


@pytest.mark.parametrize("purpose", [one for one in Purpose if one is not Purpose.SETUP])
def test_a_link_is_good_for_its_purpose_alone(control: Database, setup: str, purpose: Purpose) -> None:
    assert found(control, purpose, setup) is None
    assert used(control, purpose, setup) is None
    assert used(control, Purpose.SETUP, setup) is not None


def test_a_link_expires(control: Database, setup: str) -> None:
    end_ms = NOW_MS + LIFETIME_MS[Purpose.SETUP]
    assert found(control, Purpose.SETUP, setup, end_ms - 1) is not None
    assert found(control, Purpose.SETUP, setup, end_ms) is None
    assert used(control, Purpose.SETUP, setup, end_ms) is None


@pytest.mark.parametrize("token", ["", "x" * 43, "x" * 100_000, "ü\0"])
def test_what_is_no_token_opens_nothing(control: Database, setup: str, token: str) -> None:
    assert found(control, Purpose.SETUP, token) is None
    assert used(control, Purpose.SETUP, token) is None
    assert found(control, Purpose.SETUP, setup) is not None


def test_a_new_link_ends_the_older_ones_for_the_same_and_no_others(control: Database, setup: str) -> None:
    with control.begin() as tx:
        other = an_account(tx, "other")
        others = links.make(tx, Purpose.SETUP, at_ms=NOW_MS, account_id=other.id).reveal()
        mails = [links.make(tx, Purpose.SIGNUP, at_ms=NOW_MS, email=f"{who}@example.com").reveal() for who in "aab"]
        newer = links.make(tx, Purpose.SETUP, at_ms=NOW_MS, account_id=other.id).reveal()
    assert found(control, Purpose.SETUP, setup) is not None
    assert found(control, Purpose.SETUP, others) is None
    assert found(control, Purpose.SETUP, newer) is not None
    assert [found(control, Purpose.SIGNUP, one) is not None for one in mails] == [False, True, True]


def test_links_about_nobody_are_not_made(control: Database) -> None:
    with pytest.raises(ValueError, match="about somebody"), control.begin() as tx:
        links.make(tx, Purpose.RESET, at_ms=NOW_MS)


def test_links_can_be_ended_and_asked_about(control: Database, setup: str) -> None:
    with control.connect() as tx:
        acme = an_account_id(tx)
        assert links.is_open(tx, Purpose.SETUP, acme, now_ms=NOW_MS)
        assert not links.is_open(tx, Purpose.SETUP, acme, now_ms=NOW_MS + LIFETIME_MS[Purpose.SETUP])
    with control.begin() as tx:
        links.end(tx, Purpose.SETUP, at_ms=NOW_MS, account_id=acme)
        assert not links.is_open(tx, Purpose.SETUP, acme, now_ms=NOW_MS)
    assert used(control, Purpose.SETUP, setup) is None


def an_account_id(tx: sa.Connection) -> AccountId:
    return AccountId(tx.execute(sa.select(link.c.account_id)).scalar_one())


def test_the_token_is_kept_nowhere(control: Database, setup: str) -> None:
    with control.connect() as tx:
        assert setup not in str(tx.execute(sa.select(link)).all())


def test_what_has_long_been_over_is_removed(control: Database, setup: str) -> None:
    end_ms = NOW_MS + LIFETIME_MS[Purpose.SETUP]
    assert setup
    with control.begin() as tx:
        assert links.prune(tx, end_ms + KEPT_MS) == 0
        assert links.prune(tx, end_ms + KEPT_MS + 1) == 1


def test_what_goes_takes_its_links_along(control: Database, setup: str) -> None:
    with control.begin() as tx:
        links.erase_tenant(tx, an_account_id(tx))
    assert found(control, Purpose.SETUP, setup) is None
    with control.connect() as tx:
        assert tx.execute(sa.select(link)).all() == []
