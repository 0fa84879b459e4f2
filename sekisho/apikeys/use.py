"""Who uses which key is collected in memory on the hot path, and written beside it (``used`` is what it becomes).

What is new about a key (an address, a From domain, a good
deal of mail) is written within a second or so, that it goes on as ever every ten seconds: so much is lost with a
process at most.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import islice
from typing import Final

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, func, insert, select, update

from sekisho import audit
from sekisho.accounts.model import account
from sekisho.apikeys.tables import api_key
from sekisho.apikeys.used import key_address, key_from_domain, key_hour, key_use
from sekisho.audit import By
from sekisho.db import Database
from sekisho.identity import Identity, IPAddress, undisguised
from sekisho.ids import AccountId, KeyId

KEPT: Final = 1000
"""Addresses per key, and From domains per key: those used last."""

HOURS_KEPT: Final = 31 * 24

COLLECTED_MAX: Final = 10_000
"""Keys waiting to be written; what is new beyond them goes unrecorded."""

NAMES_MAX: Final = 200
"""Addresses, and From domains, per key waiting to be written; mail from others counts for the hour alone."""

BATCH_MAX: Final = 100
"""Keys per transaction: nobody else writes control data meanwhile."""

AUDITED_MAX: Final = 50
"""New networks per key and hour that are written to the audit log, which is kept for good."""

SOON_RECIPIENTS: Final = 100
"""So many not yet written are written at the next turn."""

AGAIN_MS: Final = 10_000
HOUR_MS: Final = 3_600_000

_IPV4_PREFIX: Final = 24
_IPV6_PREFIX: Final = 48
"""What one site is usually given (RFC 6177): a client that draws new addresses within it is no news."""


# Collecting.


@dataclass(slots=True)
class Tally:
    """Uses of one kind since they were written last."""

    first_ms: int
    last_ms: int
    recipients: int = 0

    def absorb(self, later: Tally) -> None:
        self.first_ms = min(self.first_ms, later.first_ms)
        self.last_ms = max(self.last_ms, later.last_ms)
        self.recipients += later.recipients


@dataclass(slots=True)
class Seen:
    """All uses of one key since they were written last."""

    total: Tally
    last_address: str
    addresses: dict[str, Tally] = field(default_factory=dict)
    domains: dict[str, Tally] = field(default_factory=dict)
    hours: dict[int, int] = field(default_factory=dict)

    def absorb(self, later: Seen) -> None:
        self.total.absorb(later.total)
        self.last_address = later.last_address or self.last_address
        for mine, theirs in ((self.addresses, later.addresses), (self.domains, later.domains)):
            for name, tally in theirs.items():
                if name in mine:
                    mine[name].absorb(tally)
                elif len(mine) < NAMES_MAX:
                    mine[name] = tally
        for hour, recipients in later.hours.items():
            self.hours[hour] = self.hours.get(hour, 0) + recipients


@dataclass(frozen=True, slots=True)
class News:
    """What writing the uses of one key showed."""

    key_id: KeyId
    owner_id: AccountId
    """The account's or the subuser's whose key it is."""
    at_ms: int
    address: str
    """The last one it was used from."""
    new_networks: tuple[str, ...]
    """Those it was never used from before."""
    is_first: bool
    """It was never used before at all."""


@dataclass(slots=True)
class KeyUse:
    """One process's collector: ``used`` and ``sent`` are for the loop, ``flush`` for one thread beside it."""

    database: Database
    now_ms: Callable[[], int]
    judge: Callable[[Connection, Sequence[News]], None] = lambda *_: None
    """Hears of what was written, in the same transaction."""
    _seen: dict[KeyId, Seen] = field(default_factory=dict, init=False)
    _written: OrderedDict[tuple[KeyId, str], int] = field(default_factory=OrderedDict, init=False)
    """Keys (``""``), addresses and domains that need not be written soon, and when they were written last."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def used(self, identity: Identity, address: IPAddress, allowed: bool) -> None:
        """Take note of a key that was presented; one that was not let in from there was not used."""
        if allowed:
            now_ms, text = self.now_ms(), str(undisguised(address))
            self._add(identity.key_id, Seen(Tally(now_ms, now_ms), text, {text: Tally(now_ms, now_ms)}))

    def sent(self, identity: Identity, address: IPAddress | None, from_domain: str, recipients: int) -> None:
        """Take note of mail that was accepted; ``address`` is the client's, None when it is not known."""
        now_ms = self.now_ms()
        one = Seen(Tally(now_ms, now_ms, recipients), "")
        if address is not None:
            one.last_address = str(undisguised(address))
            one.addresses[one.last_address] = Tally(now_ms, now_ms, recipients)
        one.domains[from_domain] = Tally(now_ms, now_ms, recipients)
        one.hours[now_ms // HOUR_MS] = recipients
        self._add(identity.key_id, one)

    def flush(self, *, everything: bool = False) -> int:
        """Write what is due, or all there is; how many keys. Raises DatabaseUnavailable, and keeps what it had."""
        total = 0
        while due := self._take(everything=everything):
            try:
                with self.database.begin() as tx:
                    self.judge(tx, write(tx, due))
            except BaseException:
                for key_id, seen in due.items():
                    self._put_back(key_id, seen)
                raise
            self._remember(due)
            total += len(due)
        return total

    def _add(self, key_id: KeyId, one: Seen) -> None:
        with self._lock:
            known = self._seen.get(key_id)
            if known is not None:
                known.absorb(one)
            elif len(self._seen) < COLLECTED_MAX:
                self._seen[key_id] = one

    def _put_back(self, key_id: KeyId, seen: Seen) -> None:
        with self._lock:
            later = self._seen.get(key_id)
            if later is not None:
                seen.absorb(later)
            self._seen[key_id] = seen

    def _take(self, *, everything: bool) -> dict[KeyId, Seen]:
        now_ms = self.now_ms()
        with self._lock:
            due = (key_id for key_id, seen in self._seen.items() if everything or self._is_due(key_id, seen, now_ms))
            return {key_id: self._seen.pop(key_id) for key_id in list(islice(due, BATCH_MAX))}

    def _is_due(self, key_id: KeyId, seen: Seen, now_ms: int) -> bool:
        written_ms = self._written.get((key_id, ""))
        # The clock may have been set back: what was written "later" is due.
        if written_ms is None or not written_ms <= now_ms < written_ms + AGAIN_MS:
            return True
        if seen.total.recipients >= SOON_RECIPIENTS:
            return True
        return any((key_id, name) not in self._written for names in (seen.addresses, seen.domains) for name in names)

    def _remember(self, written: Mapping[KeyId, Seen]) -> None:
        now_ms = self.now_ms()
        with self._lock:
            for key_id, seen in written.items():
                for name in ("", *seen.addresses, *seen.domains):
                    self._written[key_id, name] = now_ms
                    self._written.move_to_end((key_id, name))
            while len(self._written) > COLLECTED_MAX * 4:
                self._written.popitem(last=False)


# Writing.


def write(tx: Connection, seen: Mapping[KeyId, Seen]) -> list[News]:
    """Write uses, tell the audit log of new networks, and forget the oldest rows beyond the bounds."""
    owner_id = func.coalesce(api_key.c.subuser_id, api_key.c.account_id)
    there = (
        select(api_key.c.id, owner_id.label("owner_id"))
        .join(account, account.c.id == owner_id)
        # Of a tenant that was deleted meanwhile nothing is to come back.
        .where(api_key.c.id.in_(seen), account.c.deleted_ms.is_(None))
    )
    return [_write_one(tx, KeyId(row.id), AccountId(row.owner_id), seen[row.id]) for row in tx.execute(there).all()]


def _write_one(tx: Connection, key_id: KeyId, owner_id: AccountId, seen: Seen) -> News:
    networks = {address: network_of(ip_address(address)) for address in seen.addresses}
    mine = key_address.c.key_id == key_id
    query = select(key_address.c.network).where(mine, key_address.c.network.in_(set(networks.values())))
    known = set(tx.execute(query).scalars())
    is_first = _write_total(tx, key_id, seen)
    _write_names(tx, key_address, key_address.c.address, key_id, seen.addresses, networks)
    _write_names(tx, key_from_domain, key_from_domain.c.domain, key_id, seen.domains)
    _write_hours(tx, key_id, seen)
    new = {network: address for address, network in networks.items() if network not in known}
    _tell(tx, key_id, owner_id, seen, new)
    return News(key_id, owner_id, seen.total.last_ms, seen.last_address, tuple(new), is_first)


def network_of(address: IPAddress) -> str:
    """Name the network that an address counts for."""
    plain = undisguised(address)
    prefix = _IPV6_PREFIX if isinstance(plain, IPv6Address) else _IPV4_PREFIX
    return str(ip_network((plain, prefix), strict=False))


def _write_total(tx: Connection, key_id: KeyId, seen: Seen) -> bool:
    """Write the key's own row; whether it is its first."""
    found = tx.execute(select(key_use).where(key_use.c.key_id == key_id)).one_or_none()
    if found is None:
        row = {"first_ms": seen.total.first_ms, "last_ms": seen.total.last_ms, "last_address": seen.last_address}
        tx.execute(insert(key_use).values(key_id=key_id, **row))
        return True
    # Two workers may write what they saw in any order.
    is_last = seen.total.last_ms >= found.last_ms and seen.last_address
    row = {
        "first_ms": min(found.first_ms, seen.total.first_ms),
        "last_ms": max(found.last_ms, seen.total.last_ms),
        "last_address": seen.last_address if is_last else found.last_address,
    }
    tx.execute(update(key_use).where(key_use.c.key_id == key_id).values(row))
    return False


def _write_names(  # noqa: PLR0917
    tx: Connection,
    table: Table,
    name: Column[str],
    key_id: KeyId,
    tallies: Mapping[str, Tally],
    networks: Mapping[str, str] | None = None,
) -> None:
    if not tallies:
        return
    mine = table.c.key_id == key_id
    known = {row._mapping[name]: row for row in tx.execute(select(table).where(mine, name.in_(tallies)))}  # noqa: SLF001
    new = [
        {
            "key_id": key_id,
            name.name: text,
            "first_ms": tally.first_ms,
            "last_ms": tally.last_ms,
            "recipients": tally.recipients,
        }
        | ({} if networks is None else {"network": networks[text]})
        for text, tally in tallies.items()
        if text not in known
    ]
    if new:
        tx.execute(insert(table), new)
        _prune(tx, table, mine)
    for text, row in known.items():
        tally = tallies[text]
        later = {
            "first_ms": min(row.first_ms, tally.first_ms),
            "last_ms": max(row.last_ms, tally.last_ms),
            "recipients": row.recipients + tally.recipients,
        }
        tx.execute(update(table).where(and_(mine, name == text)).values(later))


def _prune(tx: Connection, table: Table, mine: ColumnElement[bool]) -> None:
    newest = select(table.c.last_ms).where(mine).order_by(table.c.last_ms.desc())
    bound_ms = tx.execute(newest.offset(KEPT).limit(1)).scalar()
    if bound_ms is not None:
        # Rows of the same millisecond go together: fewer than the bound may be kept, never more.
        tx.execute(delete(table).where(mine, table.c.last_ms <= bound_ms))


def _write_hours(tx: Connection, key_id: KeyId, seen: Seen) -> None:
    for hour, recipients in seen.hours.items():
        mine = and_(key_hour.c.key_id == key_id, key_hour.c.hour == hour)
        more = update(key_hour).where(mine).values(recipients=key_hour.c.recipients + recipients)
        if not tx.execute(more).rowcount:
            tx.execute(insert(key_hour).values(key_id=key_id, hour=hour, recipients=recipients))
            old = key_hour.c.hour < hour - HOURS_KEPT
            tx.execute(delete(key_hour).where(key_hour.c.key_id == key_id, old))


def _tell(tx: Connection, key_id: KeyId, owner_id: AccountId, seen: Seen, new: Mapping[str, str]) -> None:
    """Write to the owner's audit log that a key came from networks that it never came from."""
    if not new:
        return
    since_ms = seen.total.last_ms - HOUR_MS
    lately = select(func.count()).where(key_address.c.key_id == key_id, key_address.c.first_ms >= since_ms)
    if tx.execute(lately).scalar_one() > AUDITED_MAX:
        return
    for network, address in new.items():
        by = By(f"key:{key_id}", seen.addresses[address].last_ms, address)
        details: dict[str, audit.Detail] = {"network": network}
        audit.record(tx, by=by, action="key.new_address", account_id=owner_id, subject=key_id, details=details)
