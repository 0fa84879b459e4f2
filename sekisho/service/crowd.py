"""Whether so many clients wait for their 250s that they are served first, for a moment.

Accepting and signing want the same processors. In a burst the clients' side is what cannot wait: what was accepted is
on disk. A load that goes on is no burst: after that moment both sides compete again, so that delivery keeps up.
"""

from __future__ import annotations

from typing import Final

from sekisho.ports.clock import Clock

CROWD: Final = 24
"""Messages being committed at once: more than a load that is kept up with ever has, fewer than a burst has."""

BURST: Final = 1_500
"""Messages that go first: they and what piles up behind them fit into what memory holds for one destination (2,000).
More would have to be read back from disk, which is dearer."""

_LULL_S: Final = 0.1
"""Between two commits nobody waits: a crowd is over when none has been seen for so long."""

_REST_S: Final = 2.0
"""And only after so long without one does the next go first."""


class Crowd:
    """Counts the clients that wait. On the loop only."""

    __slots__ = ("_came", "_clock", "_seen_s", "_waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._waiting = 0
        self._came = 0
        self._seen_s = float("-inf")

    def __enter__(self) -> None:
        """One more waits."""
        self._waiting += 1
        self._came += 1
        if self._waiting >= CROWD:
            now_s = self._clock.monotonic()
            if now_s - self._seen_s > _REST_S:
                self._came = 0
            self._seen_s = now_s

    def __exit__(self, *_: object) -> None:
        self._waiting -= 1

    def goes_first(self) -> bool:
        """Whether deliveries give way now."""
        return self._came < BURST and self._clock.monotonic() - self._seen_s < _LULL_S
