"""Who comes from where: collected in memory on the hot path, written a few seconds later in one transaction.

What is lost with a process is at most what it saw in the last minute. An address that goes on coming is written once
a minute.
"""

from __future__ import annotations

import enum
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from sekisho import audit
from sekisho.accounts.model import account
from sekisho.audit import By
from sekisho.db import Database
from sekisho.identity import Identity, IPAddress, undisguised
from sekisho.ids import AccountId, KeyId
from sekisho.ipaccess.tables import access_activity

KEPT: Final = 1000
"""Rows per account and per subuser, the newest; no more of them are collected at a time either."""

COLLECTED_MAX: Final = 10_000
"""Kinds of attempts waiting to be written, about 4 MB; what is new beyond them goes unrecorded."""

AUDITED_MAX: Final = 20
"""Addresses per owner and minute whose refusal is written to the audit log, which is kept for good."""

BATCH_MAX: Final = 500
"""Rows per transaction: nobody else writes control data meanwhile."""

_AGAIN_MS: Final = 60_000
_MINUTE_MS: Final = 60_000


class Method(enum.StrEnum):
    """How somebody came. The vendor's documents show only the first."""

    WEB = "Web"
    API = "API"
    SMTP = "SMTP"


@dataclass(frozen=True, slots=True)
class Kind:
    """What makes one row."""

    owner_id: AccountId
    address: str
    method: Method
    allowed: bool


@dataclass(slots=True)
class Seen:
    """All of one kind since the last time it was written."""

    first_ms: int
    last_ms: int
    count: int
    key_id: KeyId | None
    """The key that was used last; None: a person."""

    def absorb(self, later: Seen) -> None:
        self.first_ms = min(self.first_ms, later.first_ms)
        self.last_ms = max(self.last_ms, later.last_ms)
        self.count += later.count
        self.key_id = later.key_id


@dataclass(slots=True)
class Activity:
    """One process's collector. ``attempt`` is for the loop, ``flush`` for one thread beside it."""

    database: Database
    method: Method
    now_ms: Callable[[], int]
    _seen: dict[Kind, Seen] = field(default_factory=dict, init=False)
    _waiting: Counter[AccountId] = field(default_factory=Counter, init=False)
    """Kinds per owner: one that comes from everywhere leaves room for the others."""
    _written: OrderedDict[Kind, int] = field(default_factory=OrderedDict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def attempt(self, identity: Identity, address: IPAddress, allowed: bool) -> None:
        """Take note of a key that was used."""
        kind = Kind(identity.sender_id, str(undisguised(address)), self.method, allowed)
        now_ms = self.now_ms()
        with self._lock:
            self._note(kind, Seen(now_ms, now_ms, 1, identity.key_id))

    def came(self, owner_id: AccountId, address: IPAddress, allowed: bool) -> None:
        """Take note of a person who is logged in."""
        kind = Kind(owner_id, str(undisguised(address)), self.method, allowed)
        now_ms = self.now_ms()
        with self._lock:
            self._note(kind, Seen(now_ms, now_ms, 1, None))

    def flush(self, *, everything: bool = False) -> int:
        """Write what is due, or all there is; how many rows. Raises DatabaseUnavailable, and keeps what it had."""
        total = 0
        while due := self._take(everything=everything):
            try:
                with self.database.begin() as tx:
                    write(tx, due)
            except BaseException:
                with self._lock:
                    for kind, seen in due.items():
                        self._note(kind, seen)
                raise
            self._remember(due)
            total += len(due)
        return total

    def _take(self, *, everything: bool) -> dict[Kind, Seen]:
        now_ms = self.now_ms()
        with self._lock:
            due = (kind for kind in self._seen if everything or self._is_due(kind, now_ms))
            taken = {kind: self._seen.pop(kind) for kind in list(islice(due, BATCH_MAX))}
            self._waiting -= Counter(kind.owner_id for kind in taken)
        return taken

    def _is_due(self, kind: Kind, now_ms: int) -> bool:
        written_ms = self._written.get(kind)
        # The clock may have been set back: what was written "later" is due.
        return written_ms is None or not written_ms <= now_ms < written_ms + _AGAIN_MS

    def _remember(self, written: Collection[Kind]) -> None:
        now_ms = self.now_ms()
        for kind in written:
            self._written[kind] = now_ms
            self._written.move_to_end(kind)
        while len(self._written) > COLLECTED_MAX:
            self._written.popitem(last=False)

    def _note(self, kind: Kind, seen: Seen) -> None:
        known = self._seen.get(kind)
        if known is not None:
            known.absorb(seen)
        elif len(self._seen) < COLLECTED_MAX and self._waiting[kind.owner_id] < KEPT:
            self._seen[kind] = seen
            self._waiting[kind.owner_id] += 1


def write(tx: Connection, seen: Mapping[Kind, Seen]) -> None:
    """Write attempts, tell the audit log of refusals, and forget the oldest rows beyond the bound."""
    owners = {kind.owner_id for kind in seen}
    there = select(account.c.id).where(account.c.id.in_(owners), account.c.deleted_ms.is_(None))
    # Of a tenant that was deleted meanwhile nothing is to come back.
    kept: set[AccountId] = set(tx.execute(there).scalars())
    for kind, one in seen.items():
        if kind.owner_id in kept:
            audited_ms = _write_one(tx, kind, one)
            if not kind.allowed and (audited_ms is None or _minute(audited_ms) != _minute(one.last_ms)):
                _tell(tx, kind, one)
    for owner_id in kept:
        _prune(tx, owner_id)


def _write_one(tx: Connection, kind: Kind, seen: Seen) -> int | None:
    """Write the row; when its refusal was last audited."""
    mine = _is(kind)
    found = tx.execute(
        select(access_activity.c.first_ms, access_activity.c.last_ms, access_activity.c.audited_ms).where(*mine)
    ).one_or_none()
    if found is None:
        times = {"first_ms": seen.first_ms, "last_ms": seen.last_ms}
        tx.execute(insert(access_activity).values(**_key(kind), **times))
        return None
    # Two workers may write what they saw in any order.
    times = {"first_ms": min(found.first_ms, seen.first_ms), "last_ms": max(found.last_ms, seen.last_ms)}
    tx.execute(update(access_activity).where(*mine).values(times))
    audited_ms: int | None = found.audited_ms
    return audited_ms


def _tell(tx: Connection, kind: Kind, seen: Seen) -> None:
    """Write to the owner's audit log that somebody was not let in."""
    column = access_activity.c
    this_minute = column.audited_ms >= _minute(seen.last_ms) * _MINUTE_MS
    already = select(func.count()).where(column.owner_id == kind.owner_id, this_minute)
    if tx.execute(already).scalar_one() >= AUDITED_MAX:
        return
    tx.execute(update(access_activity).where(*_is(kind)).values(audited_ms=seen.last_ms))
    actor = "unknown" if seen.key_id is None else f"key:{seen.key_id}"
    audit.record(
        tx,
        by=By(actor, seen.last_ms, kind.address),
        action="access.refused",
        account_id=kind.owner_id,
        subject=seen.key_id or str(kind.owner_id),
        details={"method": kind.method.value, "attempts": seen.count},
    )


def _prune(tx: Connection, owner_id: AccountId) -> None:
    mine = access_activity.c.owner_id == owner_id
    newest = select(access_activity.c.last_ms).where(mine).order_by(access_activity.c.last_ms.desc())
    bound_ms = tx.execute(newest.offset(KEPT).limit(1)).scalar()
    if bound_ms is not None:
        # Rows of the same millisecond go together: fewer than the bound may be kept, never more.
        tx.execute(delete(access_activity).where(mine, access_activity.c.last_ms <= bound_ms))


def _key(kind: Kind) -> dict[str, object]:
    return {
        "owner_id": kind.owner_id,
        "address": kind.address,
        "method": kind.method.value,
        "allowed": kind.allowed,
    }


def _is(kind: Kind) -> tuple[ColumnElement[bool], ...]:
    return tuple(access_activity.c[name] == value for name, value in _key(kind).items())


def _minute(at_ms: int) -> int:
    return at_ms // _MINUTE_MS
