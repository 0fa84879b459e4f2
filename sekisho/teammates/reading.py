"""Who may do what for whom, who is invited, and who asks for more."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select

from sekisho.accounts import Account
from sekisho.apikeys.scopes import effective
from sekisho.apikeys.tables import maker_of
from sekisho.ids import AccountId, UserId
from sekisho.teammates.model import (
    Grant,
    Invitation,
    Permission,
    ScopeRequest,
    decode_scopes,
    invitation_from_row,
)
from sekisho.teammates.tables import invitation, scope_request, subuser_access
from sekisho.users.model import User, by_username, user_by_id
from sekisho.users.tables import user

# What a person may.


def scopes_of(person: User, *, of_subuser: bool) -> frozenset[str]:
    """List what a person may do in the tenant that he logs in to."""
    return effective(None if person.is_manager else person.scopes or frozenset(), of_subuser=of_subuser)


def may_act_for(tx: Connection, person: User, subuser: Account) -> frozenset[str] | None:
    """Say what a person may do for a subuser of his account; None: nothing, or it is none of its.

    The owner and admins of the account may do everything; a teammate what he was given there.
    """
    if subuser.parent_id is None or subuser.parent_id != person.tenant_id:
        return None
    if person.is_manager:
        return effective(None, of_subuser=True)
    found = _grant(tx, person, subuser.id)
    return None if found is None else found.opens


def manages(tx: Connection, person: User, tenant: Account) -> bool:
    """Tell whether a person manages the teammates of a tenant: its owner and admins, its parent's, its own admin."""
    if person.tenant_id == tenant.id:
        return person.is_manager
    if tenant.parent_id is None or person.tenant_id != tenant.parent_id:
        return False
    if person.is_manager:
        return True
    found = _grant(tx, person, tenant.id)
    return found is not None and found.permission is Permission.ADMIN


def key_manages(tx: Connection, key_id: str, tenant: Account) -> bool:
    """Tell whether a key may manage the teammates of a tenant that it was let in for.

    The account's own may; one that a person made, or that such a one made, as long as the person may and is there.
    """
    maker_id = maker_of(tx, key_id)
    if maker_id is None:
        return True
    maker = user_by_id(tx, UserId(maker_id))
    return maker is not None and manages(tx, maker, tenant)


def key_acts_for_subusers(tx: Connection, key_id: str) -> bool:
    """Tell whether a parent's key may name a subuser to act for: not one of a teammate, whose reach is listed."""
    maker_id = maker_of(tx, key_id)
    if maker_id is None:
        return True
    maker = user_by_id(tx, UserId(maker_id))
    return maker is not None and maker.is_manager


def access_of(tx: Connection, user_id: UserId) -> dict[AccountId, Grant]:
    """List what a restricted teammate may do for which subusers."""
    query = select(subuser_access).where(subuser_access.c.user_id == user_id).order_by(subuser_access.c.subuser_id)
    return {
        AccountId(row.subuser_id): Grant(Permission(row.permission_type), decode_scopes(row.scopes))
        for row in tx.execute(query)
    }


def _grant(tx: Connection, person: User, subuser_id: AccountId) -> Grant | None:
    return access_of(tx, person.id).get(subuser_id) if person.restricted else None


# Who is there.


def find_teammate(tx: Connection, tenant_id: AccountId, username: str) -> User | None:
    """Find one of a tenant's people, the owner among them; somebody else's is not there."""
    found = by_username(tx, username)
    return found if found is not None and found.tenant_id == tenant_id else None


def pending_of(tx: Connection, tenant_id: AccountId) -> tuple[Invitation, ...]:
    """List who is invited, expired ones too, in the order in which they were."""
    query = select(invitation).where(invitation.c.account_id == tenant_id).order_by(invitation.c.id)
    return tuple(invitation_from_row(row) for row in tx.execute(query))


def find_pending(tx: Connection, tenant_id: AccountId, token: str) -> Invitation | None:
    """Find an invitation by the vendor's token; somebody else's is not there."""
    return _invitation(tx, select(invitation).where(invitation.c.account_id == tenant_id, invitation.c.token == token))


def invitation_by_id(tx: Connection, invitation_id: int) -> Invitation | None:
    """Read an invitation, expired or not."""
    return _invitation(tx, select(invitation).where(invitation.c.id == invitation_id))


def count_of(tx: Connection, tenant_id: AccountId) -> int:
    """Count a tenant's people and invitations."""
    people = select(func.count()).where(user.c.account_id == tenant_id)
    invited = select(func.count()).where(invitation.c.account_id == tenant_id)
    return tx.execute(people).scalar_one() + tx.execute(invited).scalar_one()


def _invitation(tx: Connection, query: Select[tuple[object, ...]]) -> Invitation | None:
    row = tx.execute(query).one_or_none()
    return None if row is None else invitation_from_row(row)


# Who asks for more.


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with who made it."""

    request: ScopeRequest
    person: User


def requests_of(tx: Connection, tenant_id: AccountId) -> tuple[Asked, ...]:
    """List what a tenant's teammates ask for, the oldest first."""
    query = (
        select(scope_request)
        .join(user, user.c.id == scope_request.c.user_id)
        .where(user.c.account_id == tenant_id)
        .order_by(scope_request.c.id)
    )
    people: dict[UserId, User] = {}
    found = []
    for row in tx.execute(query).all():
        person = people.get(row.user_id) or user_by_id(tx, row.user_id)
        if person is not None:
            people[person.id] = person
            found.append(Asked(ScopeRequest(row.id, person.id, row.scope_group, row.created_ms), person))
    return tuple(found)


def find_request(tx: Connection, tenant_id: AccountId, request_id: int) -> Asked | None:
    """Find a request; somebody else's is not there."""
    row = tx.execute(select(scope_request).where(scope_request.c.id == request_id)).one_or_none()
    person = None if row is None else user_by_id(tx, row.user_id)
    if row is None or person is None or person.tenant_id != tenant_id:
        return None
    return Asked(ScopeRequest(row.id, person.id, row.scope_group, row.created_ms), person)
