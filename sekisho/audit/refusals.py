"""Refusals for the audit log: collected in memory, folded per address, key, reason and minute, written once it is over.

What is lost with a process is at most what it refused in the last minute.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from sekisho.audit.log import OPERATOR, By, audit, record
from sekisho.db import Database

ACTION: Final = "refused"

COLLECTED_MAX: Final = 20_000
"""Kinds waiting to be written, about 8 MB; what is new beyond them is folded without its address and key."""

WRITTEN_MAX: Final = 50
"""Entries per log and minute: the log is kept for good, and strangers must not fill it. The rest is one entry."""

_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What is counted together."""

    minute: int
    chain: int
    """Whose log: the key's owner, or the operator's when nobody's key was presented."""
    address: str | None
    whose: str | None
    """``key:ID`` or ``user:ID``: what was presented, or whose log-in was tried."""
    reason: str
    door: str


class Refusals:
    """One process's collector. ``note`` is for the loop, ``flush`` for one thread beside it."""

    def __init__(self, database: Database, *, door: str, now_ms: Callable[[], int]) -> None:
        self._database: Final = database
        self._door: Final = door
        self._now_ms: Final = now_ms
        self._lock: Final = threading.Lock()
        self._seen: dict[Kind, int] = {}

    def note(
        self, reason: str, address: str | None, *, owner_id: int | None, key_id: str | None, user_id: int | None = None
    ) -> None:
        """Count one refusal: of a key, of somebody's log-in, or of nobody's."""
        minute = self._now_ms() // _MINUTE_MS
        chain = OPERATOR if owner_id is None else owner_id
        whose = f"key:{key_id}" if key_id is not None else None if user_id is None else f"user:{user_id}"
        kind = Kind(minute, chain, address, whose, reason, self._door)
        with self._lock:
            if kind not in self._seen and len(self._seen) >= COLLECTED_MAX:
                kind = Kind(minute, OPERATOR, None, None, reason, self._door)
            self._seen[kind] = self._seen.get(kind, 0) + 1

    def flush(self, *, everything: bool = False) -> int:
        """Write the minutes that are over, or all there is; how many entries. On an exception nothing is forgotten."""
        due = self._take(everything=everything)
        if not due:
            return 0
        try:
            return self._write(due)
        except BaseException:
            with self._lock:
                for kind, count in due.items():
                    self._seen[kind] = self._seen.get(kind, 0) + count
            raise

    def _take(self, *, everything: bool) -> dict[Kind, int]:
        now = self._now_ms() // _MINUTE_MS
        with self._lock:
            due = {kind: count for kind, count in self._seen.items() if everything or kind.minute != now}
            for kind in due:
                del self._seen[kind]
        return due

    def _write(self, due: Mapping[Kind, int]) -> int:
        logs: dict[tuple[int, int], list[tuple[Kind, int]]] = defaultdict(list)
        for kind, count in due.items():
            logs[kind.minute, kind.chain].append((kind, count))
        written = 0
        with self._database.begin() as tx:
            erased = _erased(tx, {chain for _, chain in logs})
            for (minute, chain), found in sorted(logs.items(), key=lambda log: log[0]):
                # The most frequent stand alone.
                found.sort(key=lambda pair: -pair[1])
                at_ms = (minute + 1) * _MINUTE_MS - 1
                account_id = None if chain == OPERATOR else chain
                for kind, count in found[:WRITTEN_MAX]:
                    record(
                        tx,
                        by=_by(kind, at_ms, None if chain in erased else kind.address),
                        action=ACTION,
                        account_id=account_id,
                        subject="" if kind.whose is None else kind.whose.removeprefix("key:"),
                        details={"reason": kind.reason, "door": kind.door, "count": count},
                    )
                rest = found[WRITTEN_MAX:]
                if rest:
                    record(
                        tx,
                        by=By("unknown", at_ms),
                        action=ACTION,
                        account_id=account_id,
                        subject="",
                        details={"others": len(rest), "door": self._door, "count": sum(count for _, count in rest)},
                    )
                written += min(len(found), WRITTEN_MAX) + bool(rest)
        return written


def _by(kind: Kind, at_ms: int, address: str | None) -> By:
    # Whoever has a key's text is taken for its owner; who types somebody's name is not.
    whose = kind.whose or ""
    return By(whose if whose.startswith("key:") else "unknown", at_ms, address)


def _erased(tx: Connection, chains: Collection[int]) -> frozenset[int]:
    """Find the logs of tenants that are gone: their keys may be tried for years, from addresses that nobody shall keep.

    Known by the first entry, which has no personal part any more; looked up, where the log's end would be searched.
    """
    ended = select(audit.c.chain).where(audit.c.chain.in_(sorted(chains)), audit.c.seq == 1, audit.c.salt.is_(None))
    return frozenset(tx.execute(ended).scalars())
