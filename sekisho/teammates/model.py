"""What a teammate may do, and who is about to become one."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Row

from sekisho.apikeys.groups import GROUPS
from sekisho.apikeys.scopes import effective
from sekisho.ids import AccountId, UserId

TEAMMATES_MAX: Final = 1000
"""Of one account or subuser, owner and pending ones included; the vendor's number."""

INVITATION_MS: Final = 7 * 24 * 3_600_000
"""How long an invitation is good; sending it again begins anew."""

LETTERS_A_DAY: Final = 200
"""Invitations that one account or subuser may have mailed within a day: strangers' mailboxes are no toy."""

MINIMUM: Final = frozenset(
    {
        "user.account.read",
        "user.credits.read",
        "user.email.read",
        "user.profile.read",
        "user.username.read",
    }
)
"""What every teammate is given without being asked: what it takes to see where one is."""


class Permission(enum.StrEnum):
    """How much a teammate may do for a subuser."""

    ADMIN = "admin"
    RESTRICTED = "restricted"


@dataclass(frozen=True, slots=True)
class Grant:
    """How much somebody may do for a subuser."""

    permission: Permission
    scopes: frozenset[str] = frozenset()
    """Empty for an admin, who has all of them."""

    @property
    def opens(self) -> frozenset[str]:
        """List what it opens there."""
        return effective(None if self.permission is Permission.ADMIN else self.scopes, of_subuser=True)


@dataclass(frozen=True, slots=True)
class Rights:
    """What a teammate may do, in one of three ways: everything, these scopes, or for these subusers only."""

    is_admin: bool = False
    scopes: frozenset[str] = frozenset()
    access: Mapping[AccountId, Grant] | None = None
    """None: not restricted to subusers, and for none of them unless an admin."""

    @property
    def restricted(self) -> bool:
        return self.access is not None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A person who was invited and has not come yet."""

    id: int
    token: str
    """Names it to the API, and opens nothing: what does is in the letter alone."""
    tenant_id: AccountId
    email: str
    rights: Rights
    created_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """A teammate asks for a group of scopes."""

    id: int
    user_id: UserId
    group: str
    created_ms: int

    @property
    def scopes(self) -> frozenset[str]:
        """What is asked for; nothing when the group is not known any more."""
        return frozenset(GROUPS.get(self.group, ()))


class _StoredAccess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subuser_id: int
    permission_type: Permission
    scopes: list[str] | None


_access: Final = msgspec.json.Decoder(list[_StoredAccess])
_names: Final = msgspec.json.Decoder(list[str])


def encode_scopes(scopes: frozenset[str]) -> str:
    """Print a list of scopes for the database."""
    return msgspec.json.encode(sorted(scopes)).decode()


def decode_scopes(text: str | None) -> frozenset[str]:
    """Read it back; raises msgspec.DecodeError on anything else."""
    return frozenset() if text is None else frozenset(_names.decode(text))


def encode_access(access: Mapping[AccountId, Grant]) -> str:
    """Print what an invitation says of subusers."""
    stored = [
        _StoredAccess(number, grant.permission, None if grant.permission is Permission.ADMIN else sorted(grant.scopes))
        for number, grant in sorted(access.items())
    ]
    return msgspec.json.encode(stored).decode()


def decode_access(text: str | None) -> dict[AccountId, Grant]:
    """Read it back; raises msgspec.DecodeError on anything else."""
    found = [] if text is None else _access.decode(text)
    return {AccountId(one.subuser_id): Grant(one.permission_type, frozenset(one.scopes or ())) for one in found}


def invitation_from_row(row: Row[Any]) -> Invitation:
    """Build the value; raises on a row that this release cannot read."""
    rights = Rights(
        is_admin=row.is_admin,
        scopes=decode_scopes(row.scopes),
        access=decode_access(row.access) if row.restricted else None,
    )
    return Invitation(row.id, row.token, AccountId(row.account_id), row.email, rights, row.created_ms, row.expires_ms)
