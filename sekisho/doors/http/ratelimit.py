"""How often the API may be called, and the three headers that tell of it.

Fixed windows per account and class of route: what the vendor's headers can express (a limit, what is left, and when it
starts anew). What a key may *send* is another matter, counted with the message itself.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

COUNTERS_MAX: Final = 50_000
"""Accounts and addresses counted at a time; the one not seen longest is forgotten."""


class Pace(enum.Enum):
    """``(calls, window_s)``: a class of routes that is counted together."""

    SEND = (10_000, 1)  # mail/send: the vendor's number
    READ = (1_200, 60)
    WRITE = (600, 60)
    FAILED_LOGIN = (20, 60)  # per address
    PASSWORD = (30, 60)  # what hashes a password: a twentieth of a second of work each
    PUBLIC = (10, 60)  # per address: doors without a key

    @property
    def calls(self) -> int:
        return self.value[0]

    @property
    def window_s(self) -> int:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the headers say; ``allowed`` is False when this call was one too many."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int
    """Epoch seconds of the window's end."""

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_s),
        }


class Paces:
    """The counters of one process."""

    def __init__(self) -> None:
        self._counters: Final[OrderedDict[tuple[Pace, object], tuple[int, int]]] = OrderedDict()

    def count(self, pace: Pace, whose: object, now_ms: int) -> Standing:
        """Count one call; a refused one is not counted, so that a client that waits gets in."""
        window = now_ms // 1000 // pace.window_s
        seen = self._seen(pace, whose, window)
        allowed = seen < pace.calls
        if allowed:
            seen += 1
            self._counters[pace, whose] = (window, seen)
        # Also one that is refused: who goes on calling must not be forgotten for the strangers that come meanwhile.
        self._counters.move_to_end((pace, whose))
        if len(self._counters) > COUNTERS_MAX:
            self._counters.popitem(last=False)
        return Standing(allowed, pace.calls, pace.calls - seen, (window + 1) * pace.window_s)

    def is_over(self, pace: Pace, whose: object, now_ms: int) -> bool:
        """Look without counting."""
        return self._seen(pace, whose, now_ms // 1000 // pace.window_s) >= pace.calls

    def _seen(self, pace: Pace, whose: object, window: int) -> int:
        window_seen, seen = self._counters.get((pace, whose), (window, 0))
        return seen if window_seen == window else 0
