"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class FakeClock:
    """Implements ports.clock.Clock."""

    at_ms: int = 1_795_500_000_000
    passed_s: float = 1000.0

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic(self) -> float:
        return self.passed_s

    def go(self, seconds: float) -> None:
        self.passed_s += seconds
        self.at_ms += round(seconds * 1000)
