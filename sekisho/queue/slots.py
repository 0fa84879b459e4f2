"""Slots: which deliveries are whose, so that each has exactly one worker, whoever lives and dies.

A delivery's owner is a slot, a slot is a lock file, and a worker holds locks for as long as it lives: the kernel frees
them with it. To take over what a dead worker left is to take its lock; no row is touched. New deliveries get the
worker's first slot. An adopted slot is given back once it is empty, so numbers stay small.
"""

from __future__ import annotations

from collections.abc import Collection

from sekisho.queue.layout import Layout
from sekisho.queue.locks import FileLock

NO_SLOT = 0
"""Owner of what was appended by a process that delivers nothing (API, importer)."""


class Slots:
    """The slots of this process. Made after the last fork: a fork would share the locks."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._locks: dict[int, FileLock] = {}
        number = 1
        while not self._take(number):
            number += 1
        self.first = number

    @property
    def owned(self) -> tuple[int, ...]:
        """All that are held, the first one first. A new tuple after each change: safe to read from any thread."""
        return tuple(self._locks)

    def adopt(self, owners: Collection[int]) -> tuple[int, ...]:
        """Take over those of the slots whose worker is gone; the ones that are new here."""
        return tuple(owner for owner in owners if owner not in self._locks and owner > NO_SLOT and self._take(owner))

    def release_except(self, owners: Collection[int]) -> None:
        """Give back adopted slots that nothing belongs to any more."""
        for slot in self.owned:
            if slot != self.first and slot not in owners:
                self._locks.pop(slot).close()

    def close(self) -> None:
        for lock in self._locks.values():
            lock.close()
        self._locks.clear()

    def _take(self, number: int) -> bool:
        lock = FileLock(self._layout.slots / f"{number}.lock")
        if lock.try_exclusive():
            self._locks[number] = lock
            return True
        lock.close()
        return False
