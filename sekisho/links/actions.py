"""The only writers of links."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from sekisho.ids import AccountId, UserId
from sekisho.links.model import LIFETIME_MS, TOKEN_MAX, Link, Purpose, digest_of, from_row
from sekisho.links.reading import good
from sekisho.links.tables import link
from sekisho.ports.clock import DAY_MS
from sekisho.secret import Secret

KEPT_MS: Final = 7 * DAY_MS
"""A link that is over is kept for so long, for whoever looks into the database for what happened."""

_TOKEN_BYTES: Final = 32


def make(
    tx: Connection,
    purpose: Purpose,
    *,
    at_ms: int,
    email: str | None = None,
    user_id: UserId | None = None,
    account_id: AccountId | None = None,
    invitation_id: int | None = None,
    lifetime_ms: int | None = None,
) -> Secret[str]:
    """Make a link and give its token, which is kept nowhere; older links for the same are over.

    What it is about is one person, account or invitation, or else the address. Whoever uses it has shown that
    ``email`` is his: name one only when the link goes there, or to somebody who vouches for it.
    """
    about = _about(purpose, user_id, account_id, invitation_id, email)
    _end(tx, about, at_ms)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    tx.execute(
        insert(link).values(
            digest=digest_of(token),
            purpose=purpose.value,
            email=email,
            user_id=user_id,
            account_id=account_id,
            invitation_id=invitation_id,
            created_ms=at_ms,
            expires_ms=at_ms + (LIFETIME_MS[purpose] if lifetime_ms is None else lifetime_ms),
        )
    )
    return Secret(token)


def use(tx: Connection, purpose: Purpose, token: str, *, at_ms: int) -> Link | None:
    """Use a link up, once: None to everybody but the first, and to all when the transaction is rolled back."""
    if len(token) > TOKEN_MAX:
        return None
    # One statement decides, whatever was read before.
    used = tx.execute(update(link).where(good(purpose, token, at_ms)).values(used_ms=at_ms).returning(link.c.id))
    number = used.scalar()
    if number is None:
        return None
    found = from_row(tx.execute(select(link).where(link.c.id == number)).one())
    _end(tx, _about(purpose, found.user_id, found.account_id, found.invitation_id, found.email), at_ms)
    return found


def end(
    tx: Connection,
    purpose: Purpose,
    *,
    at_ms: int,
    user_id: UserId | None = None,
    account_id: AccountId | None = None,
    invitation_id: int | None = None,
) -> None:
    """Let no link of that purpose for this person, account or invitation be used any more."""
    _end(tx, _about(purpose, user_id, account_id, invitation_id, None), at_ms)


def erase_user(tx: Connection, user_id: UserId) -> None:
    """Forget the links of a person who goes."""
    tx.execute(delete(link).where(link.c.user_id == user_id))


def erase_tenant(tx: Connection, tenant_id: AccountId) -> None:
    """Forget the links about a tenant that goes, apart from its people's."""
    tx.execute(delete(link).where(link.c.account_id == tenant_id))


def erase_invitation(tx: Connection, invitation_id: int) -> None:
    """Forget the links of an invitation whose row goes."""
    tx.execute(delete(link).where(link.c.invitation_id == invitation_id))


def prune(tx: Connection, now_ms: int) -> int:
    """Remove what has long been over; how many."""
    old = (link.c.expires_ms < now_ms - KEPT_MS) | (link.c.used_ms < now_ms - KEPT_MS)
    return tx.execute(delete(link).where(old)).rowcount


def _about(
    purpose: Purpose,
    user_id: UserId | None,
    account_id: AccountId | None,
    invitation_id: int | None,
    email: str | None,
) -> ColumnElement[bool]:
    same: ColumnElement[bool]
    if user_id is not None:
        same = link.c.user_id == user_id
    elif invitation_id is not None:
        same = link.c.invitation_id == invitation_id
    elif account_id is not None:
        same = link.c.account_id == account_id
    elif email is not None:
        nothing = (link.c.user_id, link.c.account_id, link.c.invitation_id)
        same = (link.c.email == email) & ~or_(*(column.is_not(None) for column in nothing))
    else:
        message = "a link is about somebody"
        raise ValueError(message)
    return (link.c.purpose == purpose.value) & same


def _end(tx: Connection, about: ColumnElement[bool], at_ms: int) -> None:
    tx.execute(update(link).where(about, link.c.used_ms.is_(None)).values(used_ms=at_ms))
