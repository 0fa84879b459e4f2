"""Time as an argument: the clock that drivers and actions are given."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the time is, and what has passed."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC; may jump when the operator sets the clock."""

    def monotonic(self) -> float:
        """Seconds that only grow; for deadlines and ages."""


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
