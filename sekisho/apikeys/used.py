"""How keys were used, as it is stored: when, from where, as which From domains, how much in each hour.

``use`` is the only writer of it, but for what a release and the end of a subuser change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Integer, String, Table, delete, select, update

from sekisho.apikeys.tables import api_key
from sekisho.db import control
from sekisho.ids import AccountId, KeyId

_PER_QUERY: Final = 500

key_use = Table(
    "key_use",
    control,
    Column("key_id", ForeignKey("api_key.id"), primary_key=True),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("last_address", String(45), nullable=False),
    # Its owner looked at how it is used, and released it: what it did until then is usual.
    Column("trusted_ms", BigInteger, nullable=True),
)

key_address = Table(
    "key_address",
    control,
    Column("key_id", ForeignKey("api_key.id"), primary_key=True),
    Column("address", String(45), primary_key=True),
    # The /24 or /48 around it.
    Column("network", String(43), nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("recipients", BigInteger, nullable=False),
)

key_from_domain = Table(
    "key_from_domain",
    control,
    Column("key_id", ForeignKey("api_key.id"), primary_key=True),
    Column("domain", String(253), primary_key=True),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("recipients", BigInteger, nullable=False),
)

key_hour = Table(
    "key_hour",
    control,
    Column("key_id", ForeignKey("api_key.id"), primary_key=True),
    # Hours since the epoch.
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("recipients", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class UsedFrom:
    """An address that a key was used from."""

    address: str
    network: str
    first_ms: int
    last_ms: int
    recipients: int
    """Mail handed in from there."""


@dataclass(frozen=True, slots=True)
class UsedDomain:
    """A From domain that a key was used with."""

    domain: str
    first_ms: int
    last_ms: int
    recipients: int


@dataclass(frozen=True, slots=True)
class Uses:
    """All that is known of how a key was used."""

    first_ms: int
    last_ms: int
    addresses: tuple[UsedFrom, ...]
    """The latest first."""
    domains: tuple[UsedDomain, ...]


@dataclass(frozen=True, slots=True)
class LastUse:
    """When a key was used last, and from where."""

    at_ms: int
    address: str


def uses(tx: Connection, key_id: str) -> Uses | None:
    """Read how a key was used; None: never."""
    found = tx.execute(select(key_use).where(key_use.c.key_id == key_id)).one_or_none()
    if found is None:
        return None
    places = select(key_address).where(key_address.c.key_id == key_id)
    names = select(key_from_domain).where(key_from_domain.c.key_id == key_id)
    return Uses(
        found.first_ms,
        found.last_ms,
        tuple(
            UsedFrom(row.address, row.network, row.first_ms, row.last_ms, row.recipients)
            for row in tx.execute(places.order_by(key_address.c.last_ms.desc(), key_address.c.address))
        ),
        tuple(
            UsedDomain(row.domain, row.first_ms, row.last_ms, row.recipients)
            for row in tx.execute(names.order_by(key_from_domain.c.last_ms.desc(), key_from_domain.c.domain))
        ),
    )


def last_use(tx: Connection, key_ids: Collection[str]) -> dict[KeyId, LastUse]:
    """Read the last use of each of these keys; those never used are left out."""
    wanted = sorted(key_ids)
    found: dict[KeyId, LastUse] = {}
    for start in range(0, len(wanted), _PER_QUERY):
        query = select(key_use).where(key_use.c.key_id.in_(wanted[start : start + _PER_QUERY]))
        found.update((KeyId(row.key_id), LastUse(row.last_ms, row.last_address)) for row in tx.execute(query))
    return found


def trust(tx: Connection, key_id: str, *, at_ms: int) -> None:
    """Take everything that a key did so far for usual."""
    tx.execute(update(key_use).where(key_use.c.key_id == key_id).values(trusted_ms=at_ms))


def erase(tx: Connection, subuser_id: AccountId) -> None:
    """Forget how the keys of a subuser that goes were used."""
    mine = select(api_key.c.id).where(api_key.c.subuser_id == subuser_id)
    for table in (key_use, key_address, key_from_domain, key_hour):
        tx.execute(delete(table).where(table.c.key_id.in_(mine)))
