from __future__ import annotations

import pytest
import sqlalchemy as sa

from sekisho import audit
from sekisho.accounts import (
    create_account,
    create_subuser,
    disable,
    enable,
    find_account,
    find_subuser,
    is_stopped,
    list_accounts,
    list_subusers,
    mark_deleted,
    names,
    stopped_senders,
)
from sekisho.audit.chain import verify
from sekisho.audit.reading import links
from sekisho.changes import ChangeKind
from sekisho.db import Database
from sekisho.refusal import Declined, Obstacle
from tests.fakes.control import BY, NOW_MS, a_subuser, an_account, audited, changes_in


@pytest.fixture
def database(control: Database) -> Database:
    return control


def test_an_account_is_found_by_its_name_in_any_case_and_a_subuser_is_not_an_account(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx, "Acme")
        shop = a_subuser(tx, acme, "Shop")
        assert find_account(tx, "aCME") == acme
        assert find_subuser(tx, "shop") == shop
        assert find_account(tx, "shop") is None
        assert find_subuser(tx, "acme") is None
    assert (acme.account_id, acme.subuser_id) == (acme.id, None)
    assert (shop.account_id, shop.subuser_id) == (acme.id, shop.id)
    assert acme.owner_email == "owner@example.com"


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a\n", "ä", "x" * 65, "a/b", "a\x00"])
def test_names_that_could_be_misread_are_declined(database: Database, name: str) -> None:
    with database.begin() as tx:
        made = create_account(tx, name=name, owner_email="a@b.example", by=BY)
    assert isinstance(made, Declined)
    assert made.obstacle is Obstacle.ACCOUNT_MALFORMED
    assert "\n" not in made.text
    assert audited(database) == []


@pytest.mark.parametrize("name", ["a", "A1", "x" * 64, "me@example.com", "a_b-c.d+e"])
def test_names_as_the_vendors_users_have_them_are_taken(database: Database, name: str) -> None:
    with database.begin() as tx:
        assert an_account(tx, name).name == name


@pytest.mark.parametrize("email", ["", "a", "a@", "@b.example", "a@[127.0.0.1]", "a b@c.example", "<a@b.example>"])
def test_an_owner_needs_an_address(database: Database, email: str) -> None:
    with database.begin() as tx:
        made = create_account(tx, name="acme", owner_email=email, by=BY)
    assert isinstance(made, Declined)
    assert made.obstacle is Obstacle.ACCOUNT_MALFORMED


def test_a_name_is_given_once_over_accounts_and_subusers_of_all(database: Database) -> None:
    with database.begin() as tx:
        acme, other = an_account(tx, "acme"), an_account(tx, "other")
        a_subuser(tx, acme, "shop")
        taken = [
            create_account(tx, name="ACME", owner_email="a@b.example", by=BY),
            create_account(tx, name="Shop", owner_email="a@b.example", by=BY),
            create_subuser(tx, of=other.name, name="SHOP", by=BY),
            create_subuser(tx, of=other.name, name="acme", by=BY),
        ]
    assert [made.obstacle for made in taken if isinstance(made, Declined)] == [Obstacle.ACCOUNT_TAKEN] * 4


def test_a_subuser_belongs_to_an_account_and_to_nothing_else(database: Database) -> None:
    with database.begin() as tx:
        a_subuser(tx, an_account(tx), "shop")
        for parent in ("shop", "nobody"):
            made = create_subuser(tx, of=parent, name="deep", by=BY)
            assert isinstance(made, Declined)
            assert made.obstacle is Obstacle.ACCOUNT_UNKNOWN


def test_a_disabled_account_stops_its_subusers_and_nobody_else(database: Database) -> None:
    with database.begin() as tx:
        acme, other = an_account(tx, "acme"), an_account(tx, "other")
        shop, theirs = a_subuser(tx, acme, "shop"), a_subuser(tx, other, "theirs")
        after = disable(tx, acme, by=BY)
        assert after.disabled_ms == NOW_MS
        assert disable(tx, after, by=BY) == after
        assert is_stopped(tx, acme.id, None)
        assert is_stopped(tx, acme.id, shop.id)
        assert not is_stopped(tx, other.id, theirs.id)
        assert stopped_senders(tx).disabled == {acme.id, shop.id}
        # A subuser of its own accord, beside that.
        disable(tx, theirs, by=BY)
        assert is_stopped(tx, other.id, theirs.id)
        assert not is_stopped(tx, other.id, None)
        assert stopped_senders(tx).disabled == {acme.id, shop.id, theirs.id}
        assert enable(tx, after, by=BY).disabled_ms is None
        assert stopped_senders(tx).disabled == {theirs.id}


def test_a_deleted_subuser_is_gone_and_its_name_is_free_and_its_number_is_not(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        first = a_subuser(tx, acme, "shop")
        mark_deleted(tx, first, by=BY)
        assert find_subuser(tx, "shop") is None
        assert list_subusers(tx) == ()
        assert is_stopped(tx, acme.id, first.id)
        assert stopped_senders(tx).deleted == {first.id}
        assert stopped_senders(tx).disabled == frozenset()
        second = a_subuser(tx, acme, "shop")
        assert second.id != first.id
        assert names(tx, [first.id, acme.id]) == {first.id: "shop", acme.id: "acme"}


def test_of_a_deleted_subuser_the_account_is_told_and_no_address_stays(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        gone = a_subuser(tx, acme, "shop@example.com")
        mark_deleted(tx, gone, by=BY)
        told, *_ = audit.entries(tx, acme.id, limit=9)
        assert (told.action, told.subject, told.details) == (
            "account.subuser_delete",
            f"deleted-{gone.id}",
            {"subuser": gone.id},
        )
        rows = tx.execute(sa.select(audit.audit).where(audit.audit.c.chain.in_([acme.id, gone.id]))).all()
        assert not [value for row in rows for value in row if isinstance(value, str) and "shop@" in value]
        assert list(verify(gone.id, links(tx, gone.id))) == []


def test_accounts_are_not_deleted(database: Database) -> None:
    with database.begin() as tx, pytest.raises(ValueError, match="only subusers"):
        mark_deleted(tx, an_account(tx), by=BY)


def test_lists_are_sorted_and_may_be_of_one_account(database: Database) -> None:
    with database.begin() as tx:
        zeta, acme = an_account(tx, "Zeta"), an_account(tx, "acme")
        b, a = a_subuser(tx, acme, "b"), a_subuser(tx, zeta, "a")
        assert list_accounts(tx) == (acme, zeta)
        assert list_subusers(tx) == (a, b)
        assert list_subusers(tx, acme.id) == (b,)


def test_every_change_is_audited_and_told_once(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        off = disable(tx, shop, by=BY)
        disable(tx, off, by=BY)
        enable(tx, off, by=BY)
        disable(tx, acme, by=BY)
    assert audited(database) == [
        ("account.create", "acme"),
        ("subuser.create", "shop"),
        ("subuser.disable", "shop"),
        ("subuser.enable", "shop"),
        ("account.disable", "acme"),
    ]
    told = [(change.kind, change.account_id, change.subject) for change in changes_in(database)]
    assert told == [(ChangeKind.ACCOUNT_CHANGED, acme.id, str(tenant.id)) for tenant in (acme, shop, shop, shop, acme)]
