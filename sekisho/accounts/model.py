"""Tenants as stored: the one table of accounts and subusers, and the value read from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Index, Row, String, Table, Text, func, select, text

from sekisho.credits import Credits, Reset
from sekisho.db import ROW_ID, control
from sekisho.ids import AccountId

account = Table(
    "account",
    control,
    # Never reused (AUTOINCREMENT): events, spools and audit rows name tenants by this number for years.
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # NULL: an account. Else the account that this subuser belongs to; there is no third level.
    Column("parent_id", ForeignKey("account.id"), nullable=True),
    # As the operator wrote it; the second column is what is compared, so "Acme" cannot pose beside "acme".
    Column("name", String(64), nullable=False),
    Column("folded_name", String(64), nullable=False),
    # An account's owner, a subuser's contact.
    Column("owner_email", String(254), nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    # NULL: enabled. A disabled account disables its subusers without touching their rows.
    Column("disabled_ms", BigInteger, nullable=True),
    # NULL: its people may log in. Sending goes on either way.
    Column("website_disabled_ms", BigInteger, nullable=True),
    # JSON object: the grant of credits (credits.py); NULL: unlimited.
    Column("credits", Text, nullable=True),
    # NULL: exists. A deleted subuser's row stays, because history refers to it; its name is free again.
    Column("deleted_ms", BigInteger, nullable=True),
    # Set once what it left elsewhere (events, mail) is gone too.
    Column("erased_ms", BigInteger, nullable=True),
    sqlite_autoincrement=True,
)

# Accounts and subusers share one namespace, as the vendor's user names do.
Index(
    "account_name_once",
    account.c.folded_name,
    unique=True,
    sqlite_where=text("deleted_ms IS NULL"),
    postgresql_where=text("deleted_ms IS NULL"),
)
Index("account_parent", account.c.parent_id)


@dataclass(frozen=True, slots=True)
class Account:
    """An account, or a subuser when ``parent_id`` is set. Deleted ones are never read into this."""

    id: AccountId
    parent_id: AccountId | None
    name: str
    owner_email: str | None
    created_ms: int
    disabled_ms: int | None
    website_disabled_ms: int | None = None
    credits: Credits | None = None
    """None: unlimited."""

    @property
    def account_id(self) -> AccountId:
        """The account at the top: itself, or the subuser's parent."""
        return self.id if self.parent_id is None else self.parent_id

    @property
    def subuser_id(self) -> AccountId | None:
        """Itself when it is a subuser."""
        return None if self.parent_id is None else self.id


def fold(name: str) -> str:
    """Make the form in which names are compared."""
    return name.lower()


def account_by_id(tx: Connection, account_id: AccountId) -> Account | None:
    """Read an account or a subuser by its number."""
    row = tx.execute(select(account).where(account.c.id == account_id, account.c.deleted_ms.is_(None))).one_or_none()
    return None if row is None else _from_row(row)


def find_account(tx: Connection, name: str) -> Account | None:
    """Find the account called ``name``; a subuser's name finds nothing."""
    found = _find(tx, name)
    return found if found is not None and found.parent_id is None else None


def find_subuser(tx: Connection, name: str) -> Account | None:
    """Find the subuser called ``name``; an account's name finds nothing."""
    found = _find(tx, name)
    return found if found is not None and found.parent_id is not None else None


def find_subuser_of(tx: Connection, parent_id: AccountId, name: str) -> Account | None:
    """Find an account's subuser; one that never was and somebody else's are equally not found."""
    found = find_subuser(tx, name)
    return found if found is not None and found.parent_id == parent_id else None


def search_subusers(
    tx: Connection, of: AccountId, *, matching: str | None, limit: int, offset: int
) -> tuple[tuple[Account, ...], int]:
    """Read one page of an account's subusers by name, and how many there are; ``matching`` is a part of the name."""
    chosen = (account.c.parent_id == of) & account.c.deleted_ms.is_(None)
    if matching is not None:
        chosen &= account.c.folded_name.contains(fold(matching), autoescape=True)
    total = tx.execute(select(func.count()).where(chosen)).scalar_one()
    query = select(account).where(chosen).order_by(account.c.folded_name).limit(limit).offset(offset)
    return tuple(_from_row(row) for row in tx.execute(query)), total


def count_subusers(tx: Connection, of: AccountId) -> int:
    query = select(func.count()).where(account.c.parent_id == of, account.c.deleted_ms.is_(None))
    return tx.execute(query).scalar_one()


@dataclass(frozen=True, slots=True)
class Gone:
    """A deleted subuser that has left something elsewhere."""

    id: AccountId
    account_id: AccountId
    deleted_ms: int


def unerased(tx: Connection) -> tuple[Gone, ...]:
    """List deleted subusers that have left something elsewhere."""
    gone = account.c.deleted_ms.is_not(None) & account.c.erased_ms.is_(None)
    query = select(account.c.id, account.c.parent_id, account.c.deleted_ms).where(gone).order_by(account.c.id)
    return tuple(Gone(AccountId(row.id), AccountId(row.parent_id), row.deleted_ms) for row in tx.execute(query))


def name_taken(tx: Connection, name: str) -> bool:
    return _find(tx, name) is not None


def list_accounts(tx: Connection) -> tuple[Account, ...]:
    query = select(account).where(account.c.parent_id.is_(None), account.c.deleted_ms.is_(None))
    return tuple(_from_row(row) for row in tx.execute(query.order_by(account.c.folded_name)))


def list_subusers(tx: Connection, of: AccountId | None = None) -> tuple[Account, ...]:
    """List the subusers of one account, or all there are."""
    query = select(account).where(account.c.parent_id.is_not(None), account.c.deleted_ms.is_(None))
    if of is not None:
        query = query.where(account.c.parent_id == of)
    return tuple(_from_row(row) for row in tx.execute(query.order_by(account.c.folded_name)))


def is_stopped(tx: Connection, account_id: AccountId, subuser_id: AccountId | None) -> bool:
    """Tell whether the account or the subuser is disabled or deleted."""
    ids = [account_id] if subuser_id is None else [account_id, subuser_id]
    active = account.c.disabled_ms.is_(None) & account.c.deleted_ms.is_(None)
    found = tx.execute(select(func.count()).where(account.c.id.in_(ids), active)).scalar_one()
    return found != len(ids)


@dataclass(frozen=True, slots=True)
class Stopped:
    """Senders whose queued mail does not go out now."""

    disabled: frozenset[AccountId]
    """Disabled accounts with all their subusers, and disabled subusers."""
    deleted: frozenset[AccountId]


def stopped_senders(tx: Connection) -> Stopped:
    off = select(account.c.id).where(account.c.disabled_ms.is_not(None))
    disabled = select(account.c.id).where(
        account.c.deleted_ms.is_(None), account.c.id.in_(off) | account.c.parent_id.in_(off)
    )
    deleted = select(account.c.id).where(account.c.deleted_ms.is_not(None))
    return Stopped(frozenset(tx.execute(disabled).scalars()), frozenset(tx.execute(deleted).scalars()))


def names(tx: Connection, ids: Iterable[AccountId]) -> dict[AccountId, str]:
    """Read the names of tenants for display, deleted ones included."""
    wanted = sorted(set(ids))
    found: dict[AccountId, str] = {}
    for start in range(0, len(wanted), _ROWS_PER_QUERY):
        batch = wanted[start : start + _ROWS_PER_QUERY]
        query = select(account.c.id, account.c.name).where(account.c.id.in_(batch))
        found.update((row.id, row.name) for row in tx.execute(query))
    return found


_ROWS_PER_QUERY = 500


def _find(tx: Connection, name: str) -> Account | None:
    query = select(account).where(account.c.folded_name == fold(name), account.c.deleted_ms.is_(None))
    row = tx.execute(query).one_or_none()
    return None if row is None else _from_row(row)


def _from_row(row: Row[tuple[object, ...]]) -> Account:
    return Account(
        id=row.id,
        parent_id=row.parent_id,
        name=row.name,
        owner_email=row.owner_email,
        created_ms=row.created_ms,
        disabled_ms=row.disabled_ms,
        website_disabled_ms=row.website_disabled_ms,
        credits=decode_credits(AccountId(row.id), row.credits),
    )


def credits_of(tx: Connection, tenant_id: AccountId) -> Credits | None:
    """Read what a tenant is granted; None: unlimited."""
    return decode_credits(tenant_id, tx.execute(select(account.c.credits).where(account.c.id == tenant_id)).scalar())


class _StoredCredits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The column's JSON. What this release does not know may be a limit: refused, never overlooked."""

    total: int
    reset: Reset | None
    granted_ms: int
    added: int
    added_until: int


_credits: Final = msgspec.json.Decoder(_StoredCredits)


def encode_credits(granted: Credits | None) -> str | None:
    """Print a grant for the database."""
    if granted is None:
        return None
    stored = _StoredCredits(granted.total, granted.reset, granted.granted_ms, granted.added, granted.added_until)
    return msgspec.json.encode(stored).decode()


def decode_credits(tenant_id: AccountId, text: str | None) -> Credits | None:
    """Read it back; raises msgspec.DecodeError on anything else (a fault: the tenant must not send)."""
    if text is None:
        return None
    stored = _credits.decode(text)
    return Credits(tenant_id, stored.total, stored.reset, stored.granted_ms, stored.added, stored.added_until)
