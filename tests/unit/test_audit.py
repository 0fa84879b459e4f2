from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from sekisho import audit
from sekisho.audit import By
from sekisho.db import Database


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
    assert (row.actor, row.at_ms, row.action, row.account_id, row.subject) == (
        "operator:me",
        17,
        "key.create",
        3,
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
