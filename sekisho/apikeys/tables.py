"""API keys as stored: the table, and what is read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    false,
    select,
)

from sekisho.accounts import is_stopped
from sekisho.apikeys.model import ApiKey, Hold, HoldReason
from sekisho.apikeys.policy_text import decode_policy
from sekisho.db import control
from sekisho.identity import Identity
from sekisho.ids import AccountId, KeyId

api_key = Table(
    "api_key",
    control,
    # The 22-character middle part of the key's text.
    Column("id", String(22), primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # Set: the pass is this subuser's, which belongs to account_id.
    Column("subuser_id", ForeignKey("account.id"), nullable=True),
    # The owner's own label; need not be unique.
    Column("name", String(200), nullable=False),
    # SHA-256 of the 69 ASCII characters. The text has full entropy, so nothing slower is needed.
    Column("digest", LargeBinary(32), nullable=False),
    # JSON list of scope names; NULL = full access, which means whatever that is when the key is used.
    Column("scopes", Text, nullable=True),
    # JSON object of the limits that are set (policy_text.py).
    Column("policy", Text, nullable=False),
    # The key came from another provider: its text was made, and seen, elsewhere.
    Column("imported", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # NULL: in force. Revoked rows stay, so that an id is never given out or imported twice.
    Column("revoked_ms", BigInteger, nullable=True),
    # Revoked because somebody else may have it: queued mail of this key is held.
    Column("compromised", Boolean, nullable=False),
    # NULL: not held. A held key opens nothing and its queued mail waits, until its owner releases it, revoked or not …
    Column("held_ms", BigInteger, nullable=True),
    # … for one of model.HoldReason …
    Column("held_reason", String(20), nullable=True),
    # … in a sentence for its owner.
    Column("held_text", String(500), nullable=True),
    # The queued mail of a compromised key was let go all the same.
    Column("let_go_ms", BigInteger, nullable=True),
    # It opens nothing, and its use alarms.
    Column("canary", Boolean, server_default=false(), nullable=False),
    # The person who made it in the dashboard, or the key that made it, by number, gone or not; NULL: nobody but the
    # account itself (the operator's, and what those make).
    Column("maker_id", BigInteger, nullable=True),
)

Index("api_key_owner", api_key.c.account_id, api_key.c.subuser_id)
Index("api_key_maker", api_key.c.maker_id)


def find_key(tx: Connection, key_id: str) -> ApiKey | None:
    row = tx.execute(select(api_key).where(api_key.c.id == key_id)).one_or_none()
    return None if row is None else key_from_row(row)


def list_keys(tx: Connection, *, account_id: int | None = None, subuser_id: int | None = None) -> tuple[ApiKey, ...]:
    """List keys, newest first: all, those of an account with its subusers, or those of one subuser."""
    query = select(api_key).order_by(api_key.c.created_ms.desc(), api_key.c.id)
    if account_id is not None:
        query = query.where(api_key.c.account_id == account_id)
    if subuser_id is not None:
        query = query.where(api_key.c.subuser_id == subuser_id)
    return tuple(key_from_row(row) for row in tx.execute(query))


def holding_keys(tx: Connection) -> frozenset[KeyId]:
    """List the keys whose queued mail must not leave: held ones, and compromised ones that were not let go."""
    holding = (api_key.c.compromised & api_key.c.let_go_ms.is_(None)) | api_key.c.held_ms.is_not(None)
    return frozenset(tx.execute(select(api_key.c.id).where(holding)).scalars())


def keys_of(tx: Connection, owner: Owner, *, limit: int) -> tuple[ApiKey, ...]:
    """List an account's or subuser's own keys that were not revoked, newest first."""
    query = select(api_key).where(_owned_by(owner), api_key.c.revoked_ms.is_(None))
    query = query.order_by(api_key.c.created_ms.desc(), api_key.c.id).limit(limit)
    return tuple(key_from_row(row) for row in tx.execute(query))


def holding_mail_of(tx: Connection, owner: Owner, *, limit: int) -> tuple[ApiKey, ...]:
    """List an account's or subuser's own compromised keys whose mail was not let go, the latest first."""
    query = select(api_key).where(_owned_by(owner), api_key.c.compromised, api_key.c.let_go_ms.is_(None))
    query = query.order_by(api_key.c.revoked_ms.desc(), api_key.c.id).limit(limit)
    return tuple(key_from_row(row) for row in tx.execute(query))


def find_own_key(tx: Connection, owner: Owner, key_id: str) -> ApiKey | None:
    """Find a key of exactly this account or subuser; somebody else's is not there."""
    row = tx.execute(select(api_key).where(api_key.c.id == key_id, _owned_by(owner))).one_or_none()
    return None if row is None else key_from_row(row)


def find_key_within(tx: Connection, owner: Owner, key_id: str) -> ApiKey | None:
    """Find a key, revoked or not; an account finds those of its subusers as well."""
    found = find_key(tx, key_id)
    if found is None or found.account_id != owner.account_id or owner.subuser_id not in {None, found.subuser_id}:
        return None
    return found


def still_stands(tx: Connection, identity: Identity, now_ms: int) -> bool:
    """Tell whether a key is all that it was when it was let in.

    Asked inside the transaction of a change that would outlive the key: caches hear of its end a moment later.
    """
    key = find_key(tx, identity.key_id)
    return (
        key is not None
        and key.state(now_ms) == "active"
        and (key.scopes, key.policy) == (identity.scopes, identity.policy)
        and not is_stopped(tx, key.account_id, key.subuser_id)
    )


def keys_made_by(tx: Connection, maker_id: int) -> tuple[ApiKey, ...]:
    """List the keys that a person made, and that those made, whosever they are; without revoked ones, newest first."""
    query = select(api_key).where(api_key.c.maker_id == maker_id, api_key.c.revoked_ms.is_(None))
    return tuple(key_from_row(row) for row in tx.execute(query.order_by(api_key.c.created_ms.desc(), api_key.c.id)))


def maker_of(tx: Connection, key_id: str) -> int | None:
    """Read whose key it counts as; None: the account's own, or there is none."""
    return tx.execute(select(api_key.c.maker_id).where(api_key.c.id == key_id)).scalar()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose keys: an account's own, or those of one subuser of it."""

    account_id: AccountId
    subuser_id: AccountId | None


def _owned_by(owner: Owner) -> ColumnElement[bool]:
    column = api_key.c.subuser_id
    mine = column.is_(None) if owner.subuser_id is None else column == owner.subuser_id
    return (api_key.c.account_id == owner.account_id) & mine


def key_from_row(row: Row[Any]) -> ApiKey:
    """Build the value; raises on a row that this release cannot read, for a limit overlooked is a limit lifted."""
    return ApiKey(
        id=row.id,
        account_id=row.account_id,
        subuser_id=row.subuser_id,
        name=row.name,
        given=None if row.scopes is None else frozenset(msgspec.json.decode(row.scopes, type=list[str])),
        policy=decode_policy(row.policy),
        imported=row.imported,
        created_ms=row.created_ms,
        revoked_ms=row.revoked_ms,
        compromised=row.compromised,
        hold=None if row.held_ms is None else Hold(row.held_ms, HoldReason(row.held_reason), row.held_text),
        let_go_ms=row.let_go_ms,
        canary=row.canary,
        maker_id=row.maker_id,
    )
