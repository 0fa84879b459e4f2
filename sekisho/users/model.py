"""People as read: who they are, what they may, and by which names they log in."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, func, select

from sekisho.ids import AccountId, UserId
from sekisho.users.tables import user


class Role(enum.StrEnum):
    """What somebody is in the tenant that he logs in to."""

    OWNER = "owner"  # all there is; one per tenant
    ADMIN = "admin"  # all scopes, and other teammates
    TEAMMATE = "teammate"  # what is listed


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The vendor's fields, which nothing here depends on."""

    address: str = ""
    address2: str = ""
    city: str = ""
    company: str = ""
    country: str = ""
    first_name: str = ""
    last_name: str = ""
    phone: str = ""
    state: str = ""
    website: str = ""
    zip: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A person who logs in to one account or subuser."""

    id: UserId
    tenant_id: AccountId
    username: str
    email: str
    """Where he is written to; proved to be his when ``login_email`` is set."""
    login_email: str | None
    """The folded address as a name to log in with; None while nobody has shown that it is his."""
    role: Role
    scopes: frozenset[str] | None
    """A teammate's; None: all there are."""
    restricted: bool
    """Only the subusers that he was given (``teammates``)."""
    profile: Profile
    language: str | None
    """Of pages and letters; None: the browser's."""
    created_ms: int
    has_password: bool

    @property
    def is_manager(self) -> bool:
        """Whether he manages teammates."""
        return self.role is not Role.TEAMMATE


def fold_name(name: str) -> str:
    """Make the form in which user names are compared."""
    return name.lower()


def fold_email(address: str) -> str:
    """Make the form in which addresses are compared: no provider is known that gives ``Ann@`` and ``ann@`` apart."""
    return address.lower()


def user_by_id(tx: Connection, user_id: UserId) -> User | None:
    return _one(tx, _PEOPLE.where(user.c.id == user_id))


def find_user(tx: Connection, name: str) -> User | None:
    """Find whom a name means that somebody types: a proved address, else a user name."""
    found = by_login_email(tx, name) if "@" in name else None
    return found or by_username(tx, name)


def by_login_email(tx: Connection, address: str) -> User | None:
    return _one(tx, _PEOPLE.where(user.c.login_email == fold_email(address)))


def by_username(tx: Connection, username: str) -> User | None:
    return _one(tx, _PEOPLE.where(user.c.folded_username == fold_name(username)))


def users_of(tx: Connection, tenant_id: AccountId) -> tuple[User, ...]:
    """List the people of a tenant, the owner among them, in the order in which they came."""
    query = _PEOPLE.where(user.c.account_id == tenant_id).order_by(user.c.id)
    return tuple(_from_row(row) for row in tx.execute(query))


def all_users(tx: Connection) -> tuple[User, ...]:
    """List everybody, by tenant."""
    return tuple(_from_row(row) for row in tx.execute(_PEOPLE.order_by(user.c.account_id, user.c.id)))


def count_users(tx: Connection, tenant_id: AccountId) -> int:
    return tx.execute(select(func.count()).where(user.c.account_id == tenant_id)).scalar_one()


def owner_of(tx: Connection, tenant_id: AccountId) -> User | None:
    """Find the owner; None while nobody has set the tenant up."""
    query = _PEOPLE.where(user.c.account_id == tenant_id, user.c.role == Role.OWNER.value)
    return _one(tx, query.order_by(user.c.id).limit(1))


# Everything but the password, which only ``passwords`` has a use for.
_COLUMNS: Final = tuple(column for column in user.c if column is not user.c.password)
_PEOPLE: Final[Select[Any]] = select(*_COLUMNS, (user.c.password != "").label("has_password"))


def _one(tx: Connection, query: Select[Any]) -> User | None:
    row = tx.execute(query).one_or_none()
    return None if row is None else _from_row(row)


def _from_row(row: Row[Any]) -> User:
    return User(
        id=row.id,
        tenant_id=row.account_id,
        username=row.username,
        email=row.email,
        login_email=row.login_email,
        role=Role(row.role),
        scopes=decode_scopes(row.scopes),
        restricted=row.restricted,
        profile=decode_profile(row.profile),
        language=row.language,
        created_ms=row.created_ms,
        has_password=row.has_password,
    )


_scopes: Final = msgspec.json.Decoder(list[str])
_profile: Final = msgspec.json.Decoder(Profile)


def encode_scopes(scopes: frozenset[str] | None) -> str | None:
    """Print scopes for the database."""
    return None if scopes is None else msgspec.json.encode(sorted(scopes)).decode()


def decode_scopes(text: str | None) -> frozenset[str] | None:
    """Read them back; raises msgspec.DecodeError on anything else (a fault: nobody gets more by it)."""
    return None if text is None else frozenset(_scopes.decode(text))


def encode_profile(profile: Profile) -> str | None:
    """Print a profile for the database; None when there is nothing in it."""
    return None if profile == Profile() else msgspec.json.encode(profile).decode()


def decode_profile(text: str | None) -> Profile:
    """Read it back."""
    return Profile() if text is None else _profile.decode(text)
