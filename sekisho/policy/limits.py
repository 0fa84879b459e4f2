"""How much a key may send: arithmetic over stored counters, without clock or storage.

A rate is a *sliding log*: what was admitted is remembered in narrow buckets, and a bucket counts until its last
possible millisecond has left the window. So no window of ``window_ms``, wherever it starts, ever holds more than
``count`` recipients; the price is that a sender at the limit waits up to one bucket (1/60 of the window) too long.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.ports.clock import DAY_MS

_BUCKETS = 60
"""Buckets per window: bounds the stored log to 62 entries and the over-strictness to 1/60 of the window."""

RateLog = tuple[tuple[int, int], ...]
"""``(last_ms, recipients)`` per bucket, oldest first; ``last_ms`` is the last millisecond the bucket may hold.

Absolute, so that entries stay right when the key's window is changed between two messages.
"""


@dataclass(frozen=True, slots=True)
class Over:
    """Not now: ``until_ms`` is when the same request would fit, None when it never can."""

    until_ms: int | None


def admit_rate(log: RateLog, wanted: int, count: int, window_ms: int, now_ms: int) -> RateLog | Over:
    """Admit ``wanted`` recipients at ``now_ms`` under ``count`` per ``window_ms``: the log to store, or why not.

    A message is admitted whole or not at all.
    """
    width = -(-window_ms // _BUCKETS)
    last = now_ms - now_ms % width + width - 1
    live = _live(log, last, now_ms - window_ms)
    if wanted > count:
        return Over(None)
    spent = sum(taken for _, taken in live)
    if spent + wanted > count:
        return Over(_fits_at(live, spent + wanted - count, window_ms))
    if live and live[-1][0] == last:
        return (*live[:-1], (last, live[-1][1] + wanted))
    return (*live, (last, wanted))


def _live(log: RateLog, last: int, horizon_ms: int) -> RateLog:
    """Drop what has left the window, and fold entries from the future into the present bucket.

    An entry later than now means that the clock was set back (or that the window was made shorter). It happened before
    now in truth, so counting it as if it happened now can only be too strict, never too lax.
    """
    if not log:
        return ()
    if log[-1][0] <= last:
        return log if log[0][0] > horizon_ms else tuple(entry for entry in log if entry[0] > horizon_ms)
    ahead = sum(taken for entry_last, taken in log if entry_last >= last)
    return (*(entry for entry in log if horizon_ms < entry[0] < last), (last, ahead))


def _fits_at(live: RateLog, excess: int, window_ms: int) -> int:
    """Find when enough of the oldest entries are out of the window to make room for ``excess``."""
    until = 0
    for last, taken in live:
        until = last + window_ms
        excess -= taken
        if excess <= 0:
            break
    return until


def admit_daily(spent: int, wanted: int, count: int, now_ms: int) -> int | Over:
    """Admit ``wanted`` recipients when ``spent`` are already counted for the UTC day of ``now_ms``: the new count."""
    if wanted > count:
        return Over(None)
    if spent + wanted > count:
        return Over((utc_day(now_ms) + 1) * DAY_MS)
    return spent + wanted


def utc_day(now_ms: int) -> int:
    """Number of the UTC day since the epoch (leap seconds do not exist in epoch time)."""
    return now_ms // DAY_MS
