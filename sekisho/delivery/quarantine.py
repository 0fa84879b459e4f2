"""Messages that a fault of ours befell before are prepared one at a time.

One that brings a signing process down takes what is prepared beside it along, and all of those are suspects from then
on. Alone with the next ordinary ones, an innocent suspect clears itself; the guilty one is soon found and set aside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Quarantine:
    """One for all lanes of a worker."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def enter(self, begin: Callable[[], None]) -> None:
        """Call ``begin`` when no other suspect is being prepared; ``left`` when that is done."""
        if self._busy:
            self._waiting.append(begin)
        else:
            self._busy = True
            begin()

    def left(self) -> None:
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._busy = False
