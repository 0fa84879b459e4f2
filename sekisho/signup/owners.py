"""How an account that the operator made comes to its owner: by a link that the operator hands over."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from sekisho import accounts, audit, links, users
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.links import Purpose
from sekisho.refusal import Declined, Obstacle
from sekisho.users import Role, User

_GONE: Final = Declined(Obstacle.LINK_SPENT, "this link is not good any more")


def owner_link(tx: Connection, account: Account, *, by: By) -> str:
    """Make the link for an account's owner, as a path: to set it up, or else to choose a new password.

    The second keeps the second factor, and proves no address. Older ones are over.
    """
    owner = users.owner_of(tx, account.id)
    if owner is None:
        token = links.make(tx, Purpose.SETUP, at_ms=by.at_ms, email=account.owner_email, account_id=account.id)
        path = f"/setup/{token.reveal()}"
    else:
        token = links.make(tx, Purpose.RESET, at_ms=by.at_ms, user_id=owner.id)
        path = f"/reset/{token.reveal()}"
    details: dict[str, audit.Detail] = {"for": "set-up" if owner is None else "a new password"}
    audit.record(tx, by=by, action="account.owner_link", account_id=account.id, subject=account.name, details=details)
    return path


def set_up(tx: Connection, token: str, *, password: str, language: str, by: By) -> User | Declined:
    """Make the holder of a set-up link the account's owner; the link is used up only if that is done.

    ``password`` is what ``users.hash_password`` made. The operator vouches for the owner's address.
    """
    link = links.use(tx, Purpose.SETUP, token, at_ms=by.at_ms)
    account = None if link is None or link.account_id is None else accounts.account_by_id(tx, link.account_id)
    if link is None or account is None or link.email is None:
        return _GONE
    return users.add(
        tx,
        account,
        username=account.name,
        email=link.email,
        password=password,
        proved=True,
        role=Role.OWNER,
        language=language,
        by=by,
    )
