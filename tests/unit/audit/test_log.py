from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from sekisho import audit
from sekisho.audit import By
from sekisho.audit.chain import ERASURE, verify
from sekisho.audit.reading import links
from sekisho.db import Database

BY = By("operator:me", 17, "192.0.2.1")


def test_a_row_says_who_what_whose_and_when(control: Database) -> None:
    with control.begin() as tx:
        audit.record(
            tx,
            by=By("operator:me", 17),
            action="key.create",
            account_id=3,
            subject="an id",
            details={"scopes": ["b", "a"], "name": "é", "limit": None},
        )
    with control.connect() as tx:
        row = tx.execute(sa.select(audit.audit)).one()
    assert (row.actor, row.at_ms, row.action, row.chain, row.seq, row.subject) == (
        "operator:me",
        17,
        "key.create",
        3,
        1,
        "an id",
    )
    assert json.loads(row.details) == {"limit": None, "name": "é", "scopes": ["b", "a"]}


def test_a_change_that_fails_leaves_no_row(control: Database) -> None:

    def fail() -> None:
        with control.begin() as tx:
            audit.record(tx, by=By("me", 1), action="a.b", account_id=None, subject="")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with control.connect() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(audit.audit)).scalar_one() == 0


def test_each_account_has_a_chain_and_the_operator_one(control: Database) -> None:
    with control.begin() as tx:
        for account_id in (3, 4, 3, None, 3):
            audit.record(tx, by=BY, action="a.b", account_id=account_id, subject="s")
    with control.connect() as tx:
        assert [(head.chain, head.seq) for head in audit.heads(tx)] == [(0, 1), (3, 3), (4, 1)]
        for head in audit.heads(tx):
            assert list(verify(head.chain, links(tx, head.chain), [head])) == []


@pytest.mark.parametrize(
    "change",
    [
        sa.update(audit.audit).where(audit.audit.c.seq == 2).values(details='{"scopes":[]}'),
        sa.update(audit.audit).where(audit.audit.c.seq == 2).values(actor="key:somebody-else"),
        sa.update(audit.audit).where(audit.audit.c.seq == 2).values(address=None),
        sa.delete(audit.audit).where(audit.audit.c.seq == 2),
        sa.delete(audit.audit).where(audit.audit.c.seq == 1),
        sa.delete(audit.audit).where(audit.audit.c.seq == 4),
    ],
)
def test_whoever_writes_the_table_by_hand_is_found_out(control: Database, change: sa.Executable) -> None:
    with control.begin() as tx:
        for number in range(4):
            audit.record(tx, by=BY, action="a.b", account_id=3, subject=str(number), details={"owner": "o@example.com"})
        tx.execute(change)
    with control.connect() as tx:
        assert len(list(verify(3, links(tx, 3), audit.heads(tx)))) == 1


def test_e_mail_addresses_are_personal_wherever_they_stand_and_erasing_them_keeps_the_chain(control: Database) -> None:
    details: dict[str, audit.Detail] = {"owner": "o@example.com", "others": ["a", "x@example.com"], "count": 2}
    with control.begin() as tx:
        audit.record(tx, by=BY, action="account.create", account_id=3, subject="me@example.com", details=details)
        audit.record(tx, by=BY, action="a.b", account_id=4, subject="of another")
    with control.connect() as tx:
        (entry,) = audit.entries(tx, 3, limit=9)
        row = tx.execute(sa.select(audit.audit).where(audit.audit.c.chain == 3)).one()
    assert (entry.subject, entry.details) == ("me@example.com", details)
    assert "@" not in row.subject + row.details
    with control.begin() as tx:
        assert audit.erase(tx, 3) == 1
        assert audit.erase(tx, 3) == 0
        row = tx.execute(sa.select(audit.audit).where(audit.audit.c.chain == 3)).one()
        assert not [value for value in row if isinstance(value, str) and "example.com" in value]
        audit.record(tx, by=BY, action=ERASURE, account_id=3, subject="me")
    with control.connect() as tx:
        _, entry = audit.entries(tx, 3, limit=9)
        assert (entry.actor, entry.address, entry.subject, entry.details) == (None, None, "", {"count": 2})
        assert list(verify(3, links(tx, 3), audit.heads(tx))) == []
        (other,) = audit.entries(tx, 4, limit=9)
        assert other.actor == BY.actor


def test_entries_come_newest_first_and_in_pages(control: Database) -> None:
    with control.begin() as tx:
        for number in range(5):
            audit.record(tx, by=BY, action="even.one" if number % 2 == 0 else "odd.one", account_id=3, subject="")
    with control.connect() as tx:
        assert [one.seq for one in audit.entries(tx, 3, limit=2)] == [5, 4]
        assert [one.seq for one in audit.entries(tx, 3, limit=2, before=4)] == [3, 2]
        assert [one.seq for one in audit.entries(tx, 3, limit=9, search=audit.Search(action="odd.one"))] == [4, 2]
        assert len(audit.entries(tx, None, limit=9)) == 5


def test_entries_are_searched_by_what_whose_who_and_when(control: Database) -> None:
    with control.begin() as tx:
        for number, action in enumerate(("key.create", "key.revoke", "keys_and_more", "user.create")):
            by = By(f"user:{number}", 100 + number)
            audit.record(tx, by=by, action=action, account_id=3, subject=f"thing {number % 2}")

    def found(**search: object) -> list[int]:
        with control.connect() as tx:
            return [one.seq for one in audit.entries(tx, 3, limit=9, search=audit.Search(**search))]  # type: ignore[arg-type]

    assert found() == [4, 3, 2, 1]
    assert found(action="key.") == [2, 1]
    assert found(action="key") == []
    assert found(action="k%.") == []
    assert found(subject="thing 1") == [4, 2]
    assert found(actor="user:2") == [3]
    assert found(since_ms=101, until_ms=103) == [3, 2]


def test_two_writers_at_once_make_one_chain(control: Database) -> None:
    def write(number: int) -> None:
        with control.begin() as tx:
            audit.record(tx, by=By(f"w{number}", number), action="a.b", account_id=3, subject="")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    with control.connect() as tx:
        (head,) = audit.heads(tx)
        assert head.seq == 40
        assert list(verify(3, links(tx, 3), [head])) == []
