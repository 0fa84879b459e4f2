"""When a worker that ended is started again (pure)."""

from __future__ import annotations

from typing import Final

PAUSE_MAX_S: Final = 5.0
_PAUSE_FIRST_S: Final = 0.1
STEADY_S: Final = 10.0
"""A worker that ran for this long before it ended starts its count of failures anew."""

STARTS_MAX: Final = 5
"""Failures in a row, before everything was ready for the first time, after which starting is given up."""


def failures_after(failures: int, ran_s: float) -> int:
    """Count one more end of a worker that ran for ``ran_s`` seconds."""
    return 1 if ran_s >= STEADY_S else failures + 1


def pause_s(failures: int) -> float:
    """How long to wait before the next start: nothing after a single failure, then doubling up to the most."""
    if failures <= 1:
        return 0.0
    return min(PAUSE_MAX_S, _PAUSE_FIRST_S * 2.0 ** min(failures - 2, 16))
