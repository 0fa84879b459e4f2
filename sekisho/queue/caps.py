"""What keys have spent, counted in the transaction that appends: exact across processes and crashes."""

from __future__ import annotations

import datetime as dt
import sqlite3
import struct

from sekisho.policy.limits import Over, RateLog, admit_daily, admit_rate, utc_day
from sekisho.ports.clock import DAY_MS
from sekisho.queue.model import Caps
from sekisho.refusal import Reason, Refused

_ENTRY = struct.Struct("<QI")

_RATE_KEPT_MS = 3_600_000
"""A rate's row is of no use once its window has passed; an hour leaves room for clocks."""

_DAYS_KEPT = 2
"""Today, and yesterday in case the clock is set back over midnight."""


class Ledger:
    """The counters that one batch touches: each read once, and written back once by ``write``."""

    def __init__(self, cursor: sqlite3.Cursor, now_ms: int, wall_ms: int) -> None:
        """``now_ms`` is the spool's own time, in which windows are; a day is the wall clock's."""
        self._cursor = cursor
        self._now_ms = now_ms
        self._wall_ms = wall_ms
        self._day = utc_day(wall_ms)
        self._counts: dict[tuple[str, int], int] = {}
        self._rates: dict[str, RateLog] = {}
        self._counts_changed: set[tuple[str, int]] = set()
        self._rates_changed: set[str] = set()

    def admit(self, caps: Caps, recipients: int) -> Refused | None:
        """Count a message's recipients against all caps of its key and sender, or against none and say why."""
        counts: dict[tuple[str, int], int] = {}
        if caps.daily is not None:
            today = (str(caps.key_id), self._day)
            found = admit_daily(self._spent(today), recipients, caps.daily, self._wall_ms)
            if isinstance(found, Over):
                return Refused(Reason.DAILY_EXCEEDED, _daily_text(caps.daily, recipients, found.until_ms))
            counts[today] = found
        for credits_ in caps.credits:
            bucket = (credits_.key, credits_.until_day)
            used = self._spent(bucket) + recipients
            if used > credits_.size:
                return Refused(Reason.CREDITS_EXCEEDED)
            counts[bucket] = used
        if caps.rate_count is not None:
            log = self._log(caps.key_id)
            rate = admit_rate(log, recipients, caps.rate_count, caps.rate_window_s * 1000, self._now_ms)
            if isinstance(rate, Over):
                wait_ms = None if rate.until_ms is None else rate.until_ms - self._now_ms
                return Refused(
                    Reason.RATE_EXCEEDED, _rate_text(caps.rate_count, caps.rate_window_s, recipients, wait_ms)
                )
            self._rates[caps.key_id] = rate
            self._rates_changed.add(caps.key_id)
        self._counts |= counts
        self._counts_changed |= counts.keys()
        return None

    def _spent(self, counter: tuple[str, int]) -> int:
        spent = self._counts.get(counter)
        if spent is None:
            spent = self._counts[counter] = read_count(self._cursor, *counter)
        return spent

    def _log(self, key: str) -> RateLog:
        log = self._rates.get(key)
        if log is None:
            found = self._cursor.execute("SELECT log FROM rate WHERE key = ?", (key,)).fetchone()
            log = () if found is None else tuple(_ENTRY.iter_unpack(found[0]))
            self._rates[key] = log
        return log

    def write(self) -> None:
        """Store what changed: a batch of nothing but refusals writes nothing, and so costs no sync."""
        if self._counts_changed:
            self._cursor.executemany(
                "INSERT INTO daily (key, day, count) VALUES (?, ?, ?)"
                " ON CONFLICT (key, day) DO UPDATE SET count = excluded.count",
                [(key, day, self._counts[key, day]) for key, day in self._counts_changed],
            )
        if self._rates_changed:
            self._cursor.executemany(
                "INSERT INTO rate (key, log, updated_ms) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET log = excluded.log, updated_ms = excluded.updated_ms",
                [
                    (key, b"".join([_ENTRY.pack(last, taken) for last, taken in self._rates[key]]), self._now_ms)
                    for key in self._rates_changed
                ],
            )


def read_count(cursor: sqlite3.Cursor | sqlite3.Connection, key: str, day: int) -> int:
    """Read a counter of recipients: a key's of one day, or a bucket of credits by its last day."""
    found = cursor.execute("SELECT count FROM daily WHERE key = ? AND day = ?", (key, day)).fetchone()
    return 0 if found is None else int(found[0])


def prune(cursor: sqlite3.Cursor, now_ms: int, wall_ms: int) -> None:
    """Remove counters that can no longer decide anything."""
    cursor.execute("DELETE FROM daily WHERE day < ?", (utc_day(wall_ms) - _DAYS_KEPT + 1,))
    cursor.execute("DELETE FROM rate WHERE updated_ms < ?", (now_ms - _RATE_KEPT_MS,))


def _daily_text(limit: int, recipients: int, until_ms: int | None) -> str:
    if until_ms is None:
        return f"{recipients} recipients at once, the key's daily limit is {limit}"
    resets = dt.datetime.fromtimestamp(until_ms // DAY_MS * 86_400, dt.UTC)
    return f"daily limit of {limit} recipients; resets at {resets:%Y-%m-%dT%H:%M:%SZ}"


def _rate_text(limit: int, window_s: int, recipients: int, wait_ms: int | None) -> str:
    window = {1: "second", 60: "minute"}.get(window_s, f"{window_s} s")
    if wait_ms is None:
        return f"{recipients} recipients at once, the key's limit is {limit} per {window}"
    return f"limit of {limit} recipients per {window}; free again in {-(-wait_ms // 1000)} s"
