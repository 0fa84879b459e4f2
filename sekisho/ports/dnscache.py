"""Answers kept as long as they may be believed, and each question asked once at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from sekisho.ports.clock import Clock

ENTRIES_MAX: Final = 16_384
"""Answers kept. Names are the clients' choice, so this must not grow with them; a queue of 10,000 domains fits."""
TTL_MIN_S: Final = 5.0
"""A TTL of 0 would make every delivery a question; those who publish one get a few seconds all the same."""
TTL_MAX_S: Final = 3600.0
"""Nobody's mistake, published with a TTL of a week, outlives its correction by more."""
FAILURE_TTL_S: Final = 15.0
"""How long it is remembered that a question came to nothing: RFC 2308 §7 allows 5 minutes, but mail waits for it."""

Value = TypeVar("Value")


class AnswerCache(Generic[Value]):
    """What asking found out about names, for a while: what is not there and what failed as well.

    Time is the monotonic clock's: setting the machine's date neither empties nor prolongs it. Beyond ``entries_max``
    the answer learnt longest ago goes.
    """

    def __init__(
        self, ask: Callable[[str], Awaitable[tuple[Value, float]]], *, clock: Clock, entries_max: int = ENTRIES_MAX
    ) -> None:
        """``ask`` gives what is to be kept for a name, with the seconds that it may be believed."""
        self._ask = ask
        self._clock = clock
        self._entries_max = entries_max
        self._entries: dict[str, tuple[Value, float]] = {}
        self._asking: dict[str, asyncio.Event] = {}

    def known(self, name: str) -> Value | None:
        """Give what is known now, without asking; None = ask."""
        entry = self._entries.get(name)
        return entry[0] if entry is not None and self._clock.monotonic() < entry[1] else None

    async def find(self, name: str) -> Value:
        """Give what is known, or ask. Who comes while somebody else is asking waits for the same answer."""
        while (value := self.known(name)) is None:
            if (asking := self._asking.get(name)) is None:
                return await self._learn(name)
            # The other may have been cancelled: then one of those who waited asks next.
            await asking.wait()
        return value

    async def _learn(self, name: str) -> Value:
        done = self._asking[name] = asyncio.Event()
        try:
            value, ttl_s = await self._ask(name)
        finally:
            del self._asking[name]
            done.set()
        self._entries.pop(name, None)  # learnt anew, it is the youngest
        if len(self._entries) >= self._entries_max:
            del self._entries[next(iter(self._entries))]
        self._entries[name] = value, self._clock.monotonic() + min(max(ttl_s, TTL_MIN_S), TTL_MAX_S)
        return value
