"""What lists say and who tried, read from their tables."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from sekisho.identity import IPNetwork
from sekisho.ids import AccountId
from sekisho.ipaccess.networks import AllowList
from sekisho.ipaccess.tables import access_activity, access_pending, access_rule

ID_MAX: Final = 2**31 - 1
"""The largest that clients in every language take for an integer."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a list."""

    id: int
    network: IPNetwork
    created_ms: int
    updated_ms: int


def rules_of(tx: Connection, owner_id: AccountId) -> tuple[Rule, ...]:
    """List the entries of an account or a subuser, oldest first; none: every address is let in."""
    query = select(access_rule).where(access_rule.c.owner_id == owner_id)
    return tuple(_rule(row) for row in tx.execute(query.order_by(access_rule.c.created_ms, access_rule.c.id)))


def find_rule(tx: Connection, owner_id: AccountId, rule_id: int) -> Rule | None:
    """Find one entry; somebody else's is none."""
    if not 1 <= rule_id <= ID_MAX:
        return None  # more than the column holds, which a server would say loudly
    query = select(access_rule).where(access_rule.c.owner_id == owner_id, access_rule.c.id == rule_id)
    row = tx.execute(query).one_or_none()
    return None if row is None else _rule(row)


def allow_list(tx: Connection, owner_id: AccountId) -> AllowList:
    """Read a list in the form that doors ask; raises ValueError on a row that is none: nobody is let in by it."""
    networks = tx.execute(select(access_rule.c.network).where(access_rule.c.owner_id == owner_id)).scalars()
    return AllowList(ip_network(text) for text in networks)


def pending_until(tx: Connection, owner_id: AccountId) -> int | None:
    """Until when the list must be confirmed; None: it stands."""
    return tx.execute(select(access_pending.c.until_ms).where(access_pending.c.owner_id == owner_id)).scalar()


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody came from an address with a right key, or logged in: all times of one kind together."""

    address: str
    method: str
    allowed: bool
    first_ms: int
    last_ms: int


def recent_attempts(tx: Connection, owner_id: AccountId, limit: int) -> tuple[Attempt, ...]:
    """List who tried, the latest first."""
    query = select(access_activity).where(access_activity.c.owner_id == owner_id)
    order = (access_activity.c.last_ms.desc(), access_activity.c.address, access_activity.c.method)
    return tuple(
        Attempt(row.address, row.method, row.allowed, row.first_ms, row.last_ms)
        for row in tx.execute(query.order_by(*order).limit(limit))
    )


def _rule(row: Row[Any]) -> Rule:
    return Rule(row.id, ip_network(row.network), row.created_ms, row.updated_ms)
