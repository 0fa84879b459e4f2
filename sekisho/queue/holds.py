"""Whose queued mail waits, or is to be dropped: read from control data, and read again whenever that changes.

A predicate over state, not rows in a spool, so a disabled account with a million queued messages costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

import structlog

from sekisho.accounts import stopped_senders
from sekisho.apikeys.tables import holding_keys
from sekisho.changes import Change, ChangeKind
from sekisho.db import Database, DatabaseUnavailable
from sekisho.ids import AccountId
from sekisho.queue.spool import HeldSenders

_log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0
"""Pause before a failed read is tried again."""


class Holds:
    """The newest snapshot; made, used and closed on one event loop."""

    def __init__(self, database: Database, *, threads: Executor, on_change: Callable[[], None] = lambda: None) -> None:
        """``on_change`` is called after a snapshot that differs: what was held may be due, what is deleted can go."""
        self._database: Final = database
        self._threads: Final = threads
        self._on_change: Final = on_change
        self._current = HeldSenders()
        self._deleted: frozenset[AccountId] = frozenset()
        self._wanted: Final = asyncio.Event()
        self._loaded: Final = asyncio.Event()

    def current(self) -> HeldSenders:
        """Whose mail waits now. The same object until it changes."""
        return self._current

    def deleted(self) -> frozenset[AccountId]:
        """Deleted subusers: their queued mail is to be dropped."""
        return self._deleted

    async def loaded(self) -> None:
        """Wait for the first snapshot; nothing should be attempted before."""
        await self._loaded.wait()

    def apply(self, changes: Sequence[Change]) -> None:
        """Ask for a new snapshot when one of these can have changed it; called by the follower of the change feed."""
        if any(change.kind in _CONCERNED for change in changes):
            self._wanted.set()

    async def run(self) -> None:
        """Keep the snapshot new until cancelled; the owner's task group runs this."""
        self._wanted.set()
        while True:
            await self._wanted.wait()
            # Before the read: what changes while it is under way is read again.
            self._wanted.clear()
            try:
                await self._load()
            except DatabaseUnavailable as error:
                # The old snapshot stays: letting go of a hold is never the answer to not knowing.
                _log.warning("holds.unreadable", error=str(error))
                self._wanted.set()
                await asyncio.sleep(RETRY_S)

    async def _load(self) -> None:
        held, deleted = await asyncio.get_running_loop().run_in_executor(self._threads, self._read)
        changed = (held, deleted) != (self._current, self._deleted)
        if changed:
            self._current, self._deleted = held, deleted
        self._loaded.set()
        if changed:
            self._on_change()

    def _read(self) -> tuple[HeldSenders, frozenset[AccountId]]:
        with self._database.connect() as tx:
            stopped, keys = stopped_senders(tx), holding_keys(tx)
        return HeldSenders(frozenset(stopped.disabled), frozenset(keys)), stopped.deleted


_CONCERNED: Final = frozenset(
    {ChangeKind.ACCOUNT_CHANGED, ChangeKind.KEY_CHANGED, ChangeKind.KEY_REVOKED, ChangeKind.RESYNC}
)
