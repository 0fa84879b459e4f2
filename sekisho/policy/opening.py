"""The beginning of a subuser: the tenant, and the person who logs in to it, in one transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from sekisho import accounts, users
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.refusal import Declined


def open_subuser(
    tx: Connection, parent: Account, *, name: str, email: str, password: str, by: By
) -> Account | Declined:
    """Make both; ``password`` is what ``users.hash_password`` made. The person logs in by the subuser's name.

    The caller's transaction must not commit when it is declined.
    """
    made = accounts.create_subuser(tx, of=parent.name, name=name, email=email, by=by)
    if isinstance(made, Declined):
        return made
    person = users.add(tx, made, username=made.name, email=made.owner_email or email, password=password, by=by)
    return person if isinstance(person, Declined) else made
