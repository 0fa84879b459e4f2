"""The only writers of people."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert

from sekisho import audit
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.users.tables import user


def add(tx: Connection, tenant: Account, *, email: str, password: str, by: By) -> None:
    """Let a person log in to an account or subuser; ``password`` is what ``hash_password`` made."""
    tx.execute(
        insert(user).values(
            account_id=tenant.id,
            email=email,
            password=password,
            created_ms=by.at_ms,
            username=tenant.name,
            folded_username=tenant.name.lower(),
        )
    )
    audit.record(tx, by=by, action="user.create", account_id=tenant.id, subject=email)


def remove_all_of(tx: Connection, tenant: Account) -> None:
    """Forget the people of a subuser that goes."""
    tx.execute(delete(user).where(user.c.account_id == tenant.id))
