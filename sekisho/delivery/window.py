"""How many connections to one next hop at once. Pure: time is an argument.

It begins with one, and each answered message allows one more, up to the limit: a healthy host is at its full number
after a few messages, one that has just come back is not run over by everything that waited for it.

A host that refuses a connection beside others has a limit of its own. From then on the number that it took is kept,
and one more is tried after a pause, which doubles each time that it is in vain.
"""

from __future__ import annotations

from typing import Final

PAUSE_FIRST_S: Final = 5.0
PAUSE_MAX_S: Final = 300.0


class Window:
    """The number for one pool."""

    __slots__ = ("_again_at", "_limit", "_pause_s", "_size", "_wary")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 1
        self._wary = False
        self._pause_s = 0.0
        self._again_at = 0.0

    def resize(self, limit: int) -> None:
        """Follow another limit."""
        self._limit = limit
        self._size = min(self._size, limit)

    def size(self, now: float) -> int:
        """Give how many connections there may be at ``now``."""
        if self._wary and now >= self._again_at:
            return min(self._limit, self._size + 1)
        return self._size

    def answered(self) -> bool:
        """A message was answered, however. True: there may be one more connection than before."""
        if self._wary or self._size >= self._limit:
            return False
        self._size += 1
        return True

    def opened(self, connections: int, now: float) -> None:
        """So many are open now, the newest one included."""
        if not self._wary or connections <= self._size:
            return
        # The host takes more than it did.
        self._size = connections
        self._pause_s = 0.0
        self._again_at = now
        self._wary = connections < self._limit

    def refused(self, connections: int, now: float) -> None:
        """One more than these was refused, cut off, or not to be had."""
        self._wary = True
        self._size = max(1, min(self._size, connections))
        if now < self._again_at:
            return  # it was begun before the refusal that this pause is for
        self._pause_s = min(self._pause_s * 2 or PAUSE_FIRST_S, PAUSE_MAX_S)
        self._again_at = now + self._pause_s

    def lost(self) -> None:
        """The host is down: when it is back, it is met as a new one."""
        self._size = 1
        self._wary = False
        self._pause_s = self._again_at = 0.0
