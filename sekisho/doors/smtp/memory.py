"""One byte budget over all sessions of a worker: who stops being read when it is spent.

Over the budget, sessions that hold more than a fair share (budget / sessions that hold something) pause until it is
met again; the others go on, so one customer's heap of large messages does not stop another's small one. One of the
heavy always goes on too: it ends, and frees. Without it all could wait for each other.
"""

from __future__ import annotations

from typing import Protocol


class Holder(Protocol):
    """A session, as the budget sees it."""

    def proceed(self) -> None:
        """Be read again; nothing is promised for longer than the next report."""


class SessionMemory:
    """Counts what sessions hold, by their own reports."""

    __slots__ = ("_favoured", "_held", "_waiting", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._held: dict[Holder, int] = {}
        self._waiting: dict[Holder, None] = {}  # in order of arrival
        self._favoured: Holder | None = None

    def report(self, holder: Holder, held_bytes: int, *, can_wait: bool = True) -> bool:
        """Say what a session holds now. False: stop reading it until ``proceed`` is called.

        One that cannot wait (its message is complete, or it is only talking) is counted and always goes on.
        """
        before = self._held.get(holder, 0)
        self.used_bytes += held_bytes - before
        if held_bytes:
            self._held[holder] = held_bytes
        elif before:
            del self._held[holder]
            self._leave(holder)
        if self.used_bytes <= self.limit_bytes:
            if self._waiting:
                self._wake()
            return True
        if not can_wait or held_bytes * len(self._held) <= self.limit_bytes or holder is self._favoured:
            return True
        if self._favoured is None:
            self._favoured = holder
            return True
        self._waiting[holder] = None
        return False

    def forget(self, holder: Holder) -> None:
        """The session is over."""
        self.report(holder, 0)
        self._leave(holder)

    def _leave(self, holder: Holder) -> None:
        self._waiting.pop(holder, None)
        if holder is self._favoured:
            self._favoured = next(iter(self._waiting), None)
            if self._favoured is not None:
                del self._waiting[self._favoured]
                self._favoured.proceed()

    def _wake(self) -> None:
        waiting = list(self._waiting)
        self._waiting.clear()
        for holder in waiting:
            holder.proceed()
