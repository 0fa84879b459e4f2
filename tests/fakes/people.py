"""People of a control database in short words."""

from __future__ import annotations

import sqlalchemy as sa

from sekisho import teammates, users
from sekisho.accounts import Account
from sekisho.apikeys.scopes import effective
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import KeyId
from sekisho.refusal import Declined
from sekisho.teammates import Grant, Invitation, Rights
from sekisho.users.model import Role, User
from tests.fakes.control import BY

MATES = frozenset({"stats.read", "mail.send"})
"""What a teammate of a test may do unless it says otherwise."""


def an_owner(tx: sa.Connection, tenant: Account, name: str = "olga") -> User:
    return _a_person(tx, tenant, name, Role.OWNER, None)


def an_admin(tx: sa.Connection, tenant: Account, name: str = "ada") -> User:
    return _a_person(tx, tenant, name, Role.ADMIN, None)


def a_teammate(tx: sa.Connection, tenant: Account, name: str = "tim", scopes: frozenset[str] = MATES) -> User:
    return _a_person(tx, tenant, name, Role.TEAMMATE, scopes)


def a_restricted_teammate(tx: sa.Connection, tenant: Account, access: dict[Account, Grant], name: str = "rita") -> User:
    """A person who may act for these subusers and do nothing else."""
    invited = an_invitation(
        tx, tenant, f"{name}@example.org", Rights(access={one.id: grant for one, grant in access.items()})
    )
    made = teammates.accept(tx, invited.id, username=name, password="", by=BY)
    assert not isinstance(made, Declined), made
    return made


def everything(tenant: Account) -> Identity:
    """Who has all rights there are in a tenant, as its owner does."""
    scopes = effective(None, of_subuser=tenant.subuser_id is not None)
    return Identity(tenant.account_id, tenant.subuser_id, KeyId("user-0"), scopes, KeyPolicy())


def an_invitation(
    tx: sa.Connection, tenant: Account, email: str = "new@example.org", rights: Rights | None = None
) -> Invitation:
    made = teammates.invite(tx, tenant, email, rights or Rights(scopes=MATES), granter=everything(tenant), by=BY)
    assert not isinstance(made, Declined), made
    return made


def _a_person(tx: sa.Connection, tenant: Account, name: str, role: Role, scopes: frozenset[str] | None) -> User:
    made = users.add(
        tx,
        tenant,
        username=name,
        email=f"{name}@example.org",
        password="",
        proved=True,
        role=role,
        scopes=scopes,
        by=BY,
    )
    assert not isinstance(made, Declined), made
    return made
