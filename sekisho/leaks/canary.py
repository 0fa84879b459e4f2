"""Canary keys: keys that open nothing, put where only a thief looks. Whoever tries one has been there.

The client is answered as with any wrong key; the owner is told, and from where it came.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from sqlalchemy import Connection

from sekisho import audit, notices
from sekisho.audit import By
from sekisho.db import Database
from sekisho.identity import Identity, IPAddress
from sekisho.ids import AccountId, KeyId
from sekisho.notices import Kind

_log = structlog.get_logger(__name__)

COLLECTED_MAX: Final = 1000
"""Keys and addresses waiting to be written; what is new beyond them is only counted."""

AGAIN_MS: Final = 60_000
"""The same key from the same address is told once a minute, with how often it was tried."""

_Kind = tuple[AccountId, KeyId, str]


class Canaries:
    """One process's collector: ``used`` is for the loop, ``flush`` for one thread beside it."""

    def __init__(self, database: Database, *, door: str, now_ms: Callable[[], int]) -> None:
        self._database: Final = database
        self._door: Final = door
        self._now_ms: Final = now_ms
        self._seen: dict[_Kind, tuple[int, int]] = {}
        self._written: Final[OrderedDict[_Kind, int]] = OrderedDict()
        self._lock: Final = threading.Lock()

    def used(self, identity: Identity, address: IPAddress) -> None:
        """Take note of a canary that somebody tried."""
        kind = (identity.sender_id, identity.key_id, str(address))
        with self._lock:
            if kind in self._seen or len(self._seen) < COLLECTED_MAX:
                _, count = self._seen.get(kind, (0, 0))
                self._seen[kind] = (self._now_ms(), count + 1)

    def flush(self, *, everything: bool = False) -> int:
        """Alarm; how many kinds. Raises DatabaseUnavailable, and keeps what it had."""
        due = self._take(everything=everything)
        if not due:
            return 0
        try:
            with self._database.begin() as tx:
                for kind, (at_ms, count) in due.items():
                    self._tell(tx, kind, at_ms, count)
        except BaseException:
            with self._lock:
                for kind, (at_ms, count) in due.items():
                    later_ms, more = self._seen.get(kind, (0, 0))
                    self._seen[kind] = (max(at_ms, later_ms), count + more)
            raise
        self._remember(due)
        for (_, key_id, address), (_, count) in due.items():
            _log.warning("key.canary_used", key=key_id, address=address, door=self._door, attempts=count)
        return len(due)

    def _take(self, *, everything: bool) -> dict[_Kind, tuple[int, int]]:
        now_ms = self._now_ms()
        with self._lock:
            return {
                kind: self._seen.pop(kind)
                for kind in list(self._seen)
                # The clock may have been set back: what was written "later" is due.
                if everything or not 0 <= now_ms - self._written.get(kind, -AGAIN_MS) < AGAIN_MS
            }

    def _remember(self, written: Iterable[_Kind]) -> None:
        now_ms = self._now_ms()
        with self._lock:
            for kind in written:
                self._written[kind] = now_ms
                self._written.move_to_end(kind)
            while len(self._written) > COLLECTED_MAX:
                self._written.popitem(last=False)

    def _tell(self, tx: Connection, kind: _Kind, at_ms: int, count: int) -> None:
        owner_id, key_id, address = kind
        by = By("unknown", at_ms, address)
        details: dict[str, audit.Detail] = {"door": self._door, "attempts": count}
        audit.record(tx, by=by, action="key.canary_used", account_id=owner_id, subject=key_id, details=details)
        text = (
            f"The canary key {key_id} was tried from {address} ({self._door}). It opens nothing; but whoever tried it"
            " has been where you put it. Look at that place, and replace what else lies there."
        )
        notices.tell(tx, owner_id, Kind.CANARY_USED, key_id, text, at_ms=at_ms)
