"""Messages that a fault of ours befell before are attempted a few at a time, or alone.

One that brings a signing process or the worker down takes what is under way beside it along, and all of those are
suspects from then on. Suspects for the first time go in small groups, beside ordinary mail; those of a fault more go
one by one, the least suspect first: an innocent one clears itself, the guilty one is soon found and set aside.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from functools import partial
from itertools import count

GROUP = 8
"""How many go beside each other for the first time."""
GROUP_S = 5.0
ALONE_S = 60.0
"""A next hop may take minutes to answer. What brought nothing down in so long makes room for the others' turn."""

Begin = Callable[[Callable[[], None]], None]


class Quarantine:
    """One for all lanes of a worker."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, int, Begin]] = []
        self._numbers = count()
        self._inside: dict[int, asyncio.TimerHandle] = {}
        self._is_alone = False
        """What is inside is there alone."""

    def enter(self, faults: int, begin: Begin) -> None:
        """Call ``begin`` when it is this one's turn; it calls what it is given when it is settled or not to be tried.

        ``faults``: how many befell it, at least one.
        """
        heapq.heappush(self._waiting, (faults, next(self._numbers), begin))
        self._advance()

    def _advance(self) -> None:
        while self._waiting and self._has_room(self._waiting[0][0]):
            faults, number, begin = heapq.heappop(self._waiting)
            self._is_alone = faults > 1
            time_s = ALONE_S if self._is_alone else GROUP_S
            self._inside[number] = self._loop.call_later(time_s, self._leave, number)
            begin(partial(self._leave, number))

    def _has_room(self, faults: int) -> bool:
        if not self._inside:
            return True
        return faults == 1 and not self._is_alone and len(self._inside) < GROUP

    def _leave(self, number: int) -> None:
        timer = self._inside.pop(number, None)
        if timer is not None:
            timer.cancel()
            # Not at once: what comes next may be over at once too, and so on, ever deeper.
            self._loop.call_soon(self._advance)
