"""The spool's own time: it goes on where it was when the machine's clock is set, also while nothing runs.

Due times, ages and rates are on it, and only differences of them mean anything. The spool remembers by how much it is
ahead of the wall clock, and when it was last seen.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import structlog

from sekisho.ports.clock import DAY_MS, Clock, SteadyClock

_log = structlog.get_logger(__name__)

AWAY_MAX_MS: Final = DAY_MS
"""Nobody can tell a month without power from a clock that was set by a month: of a time in which nothing ran, a day at
most makes mail older. Otherwise the first failure after a jump would expire a whole queue."""

AHEAD: Final = "(SELECT offset_ms FROM clock)"
"""In SQL: what is subtracted from the spool's time to get the wall clock's."""

NOTE_MS: Final = 10_000
"""How often the time is noted, in a transaction that is written anyway."""


def resume(offset_ms: int, seen_ms: int, wall_ms: int) -> int:
    """Say how far ahead of the wall clock to go on: never back, and not too far on."""
    if not seen_ms:
        return 0
    now_ms = min(max(wall_ms + offset_ms, seen_ms), seen_ms + AWAY_MAX_MS)
    return now_ms - wall_ms


def read(connection: sqlite3.Connection, wall: Clock) -> SteadyClock:
    """Make the clock of a spool."""
    offset_ms, seen_ms = connection.execute("SELECT offset_ms, seen_ms FROM clock").fetchone()
    return SteadyClock(wall, resume(offset_ms, seen_ms, wall.now_ms()), _tell)


def _tell(step_ms: int) -> None:
    _log.warning("clock.stepped", by_s=step_ms / 1000)


def note(connection: sqlite3.Connection, clock: SteadyClock, now_ms: int) -> None:
    """Remember the time, inside an open transaction."""
    connection.execute("UPDATE clock SET offset_ms = ?, seen_ms = ?", (clock.offset_ms, now_ms))


def forget_if_empty(connection: sqlite3.Connection) -> None:
    """With nothing queued there is nothing to be compared with: follow the wall clock again."""
    connection.execute("UPDATE clock SET offset_ms = 0, seen_ms = 0 WHERE NOT EXISTS (SELECT 1 FROM delivery)")
