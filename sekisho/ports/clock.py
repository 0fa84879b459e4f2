"""Time as an argument: the clock that drivers and actions are given, and one that does not follow when it is set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

DAY_MS: Final = 86_400_000


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


STEP_MS: Final = 5_000
"""What differs by less between two looks is a clock being slewed, and followed."""


class SteadyClock:
    """The wall clock without its jumps, for times that are compared with later ones: due times, ages, rates.

    Whoever sets the machine's clock, by an hour or by ten years, delays no retry and makes no message older. A step is
    seen against ``monotonic`` at the next look, from any thread, and balanced by ``offset_ms`` from then on. What is
    shown to people is wall time: ``now_ms() - offset_ms``.
    """

    def __init__(self, wall: Clock, offset_ms: int = 0, on_step: Callable[[int], None] = lambda _: None) -> None:
        """``on_step`` hears by how many milliseconds the wall clock was set; in the thread that saw it."""
        self.wall: Final = wall
        self._on_step = on_step
        self._lock = threading.Lock()
        self._offset_ms = offset_ms
        self._seen_ms = wall.now_ms()
        self._seen_at = wall.monotonic()

    def now_ms(self) -> int:
        step_ms = 0
        with self._lock:
            at, wall_ms = self.wall.monotonic(), self.wall.now_ms()
            differs_ms = wall_ms - self._seen_ms - round((at - self._seen_at) * 1000)
            if abs(differs_ms) >= STEP_MS:
                step_ms = differs_ms
                self._offset_ms -= step_ms
            self._seen_ms, self._seen_at = wall_ms, at
            now_ms = wall_ms + self._offset_ms
        if step_ms:
            self._on_step(step_ms)
        return now_ms

    def monotonic(self) -> float:
        return self.wall.monotonic()

    @property
    def offset_ms(self) -> int:
        """By how much this clock is ahead of the wall's."""
        return self._offset_ms
