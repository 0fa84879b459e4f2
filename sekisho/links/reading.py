"""What a token stands for now, without using it up."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select

from sekisho.ids import AccountId
from sekisho.links.model import TOKEN_MAX, Link, Purpose, digest_of, from_row
from sekisho.links.tables import link


def find(tx: Connection, purpose: Purpose, token: str, *, now_ms: int) -> Link | None:
    """Read the link that a token opens; None: never made, used, replaced, expired, or for something else."""
    if len(token) > TOKEN_MAX:
        return None
    row = tx.execute(select(link).where(good(purpose, token, now_ms))).one_or_none()
    return None if row is None else from_row(row)


def is_open(tx: Connection, purpose: Purpose, account_id: AccountId, *, now_ms: int) -> bool:
    """Tell whether there is a link of that kind for an account which can still be used."""
    mine = (link.c.purpose == purpose.value) & (link.c.account_id == account_id)
    query = select(link.c.id).where(mine, link.c.used_ms.is_(None), link.c.expires_ms > now_ms)
    return tx.execute(query.limit(1)).first() is not None


def good(purpose: Purpose, token: str, now_ms: int) -> ColumnElement[bool]:
    """Say which row a token opens, in SQL."""
    # Looked up by digest: what an attacker learns from the time of a comparison is about the digest of a guess.
    this = (link.c.digest == digest_of(token)) & (link.c.purpose == purpose.value)
    return this & link.c.used_ms.is_(None) & (link.c.expires_ms > now_ms)
