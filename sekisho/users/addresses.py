"""Networks that people have logged in from: what tells a log-in from somewhere new."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_network
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from sekisho import audit
from sekisho.audit import By
from sekisho.identity import IPAddress
from sekisho.ids import UserId
from sekisho.users.model import User
from sekisho.users.tables import user_address

KEPT_MAX: Final = 50
"""Networks of one person; the one that was not used longest is forgotten."""

_IPV4_PREFIX: Final = 24
_IPV6_PREFIX: Final = 64


def network_of(address: IPAddress) -> str:
    """Give the network that a person's next address is likely to be in, too."""
    prefix = _IPV6_PREFIX if isinstance(address, IPv6Address) else _IPV4_PREFIX
    return str(ip_network((address, prefix), strict=False))


def is_known(tx: Connection, user_id: UserId, address: IPAddress) -> bool:
    """Whether this person has logged in from near that address."""
    same = (user_address.c.user_id == user_id) & (user_address.c.network == network_of(address))
    return tx.execute(select(user_address.c.user_id).where(same)).first() is not None


def note(tx: Connection, person: User, address: IPAddress, *, by: By) -> bool:
    """Write down where a log-in came from that is complete; True when this person never came from there before.

    The first one of all is no news. True is audited; the letter to the person (``letters.Kind.NEW_LOGIN``) is the
    caller's.
    """
    network = network_of(address)
    mine = user_address.c.user_id == person.id
    seen = update(user_address).where(mine, user_address.c.network == network).values(last_ms=by.at_ms)
    if tx.execute(seen).rowcount:
        return False
    known = tx.execute(select(func.count()).where(mine)).scalar_one()
    if known >= KEPT_MAX:
        oldest = select(user_address.c.network).where(mine).order_by(user_address.c.last_ms, user_address.c.network)
        for one in tx.execute(oldest.limit(known - KEPT_MAX + 1)).scalars().all():
            tx.execute(delete(user_address).where(mine, user_address.c.network == one))
    values = {"user_id": person.id, "network": network, "first_ms": by.at_ms, "last_ms": by.at_ms}
    tx.execute(insert(user_address).values(values))
    if not known:
        return False
    audit.record(tx, by=by, action="user.new_address", account_id=person.tenant_id, subject=person.username)
    return True
