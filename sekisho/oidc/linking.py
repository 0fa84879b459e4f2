"""Which person somebody is whom a provider lets in: the only writer of that, and who reads it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from sekisho import audit
from sekisho.audit import By
from sekisho.ids import UserId
from sekisho.oidc.idtoken import Outsider
from sekisho.oidc.tables import oidc_identity
from sekisho.users import User, by_login_email, user_by_id


@dataclass(frozen=True, slots=True)
class Linked:
    """A person, and whether he has said before that this is he."""

    user: User
    by_address: bool
    """Known only by an address that both sides have verified: good for a first factor, and for nothing more."""


def find(tx: Connection, outsider: Outsider) -> Linked | None:
    """Find who somebody is; None when he is nobody here.

    Core §5.7: issuer and subject name somebody for good. An address leads to a person only until he is linked: who
    has an account at the provider under an address that was somebody else's before must not become him.
    """
    query = select(oidc_identity.c.user_id).where(
        oidc_identity.c.issuer == outsider.issuer, oidc_identity.c.subject == outsider.subject
    )
    number = tx.execute(query).scalar()
    if number is not None:
        user = user_by_id(tx, UserId(number))
        return None if user is None else Linked(user, by_address=False)
    if outsider.email is None or (user := by_login_email(tx, outsider.email)) is None:
        return None
    return None if is_linked(tx, user.id, outsider.issuer) else Linked(user, by_address=True)


def is_linked(tx: Connection, user_id: UserId, issuer: str) -> bool:
    """Whether a person has said who he is at this provider."""
    mine = (oidc_identity.c.user_id == user_id) & (oidc_identity.c.issuer == issuer)
    return tx.execute(select(oidc_identity.c.subject).where(mine)).first() is not None


def link(tx: Connection, user: User, issuer: str, subject: str, *, by: By) -> bool:
    """Let somebody log in as ``user`` from now on; False when he is linked already, or that subject is somebody."""
    theirs = (oidc_identity.c.issuer == issuer) & (oidc_identity.c.subject == subject)
    if is_linked(tx, user.id, issuer) or tx.execute(select(oidc_identity.c.user_id).where(theirs)).first() is not None:
        return False
    tx.execute(insert(oidc_identity).values(issuer=issuer, subject=subject, user_id=user.id, created_ms=by.at_ms))
    _leave_word(tx, user, "user.oidc_link", issuer, by)
    return True


def unlink(tx: Connection, user: User, issuer: str, *, by: By) -> bool:
    """Let nobody of this provider's log in as ``user`` any more by that; False when there was nobody."""
    mine = (oidc_identity.c.user_id == user.id) & (oidc_identity.c.issuer == issuer)
    if tx.execute(delete(oidc_identity).where(mine)).rowcount == 0:
        return False
    _leave_word(tx, user, "user.oidc_unlink", issuer, by)
    return True


def erase_user(tx: Connection, user_id: UserId) -> None:
    """Forget the links of a person who goes."""
    tx.execute(delete(oidc_identity).where(oidc_identity.c.user_id == user_id))


def _leave_word(tx: Connection, user: User, action: str, issuer: str, by: By) -> None:
    details = {"issuer": issuer}
    audit.record(tx, by=by, action=action, account_id=user.tenant_id, subject=user.username, details=details)
