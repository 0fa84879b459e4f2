"""Credits: how many recipients a subuser may still mail (sheet accounts.md §2). Arithmetic, without clock or storage.

What is *granted* stands with the account; what is *used* is counted in the spool, in the transaction that accepts the
mail. A grant counts in a bucket of its own: another grant, or the next period of a recurring one, starts at nothing.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, replace
from typing import Final

from sekisho.ids import AccountId
from sekisho.ports.clock import DAY_MS

_WEEK_DAYS: Final = 7
_MONDAY: Final = 3
"""1970-01-01 was a Thursday."""

FOREVER: Final = 0x7FFF_FFFF
"""The last day of a bucket that is never closed."""

TOTAL_MAX: Final = 1_000_000_000_000


class Reset(enum.StrEnum):
    """When a recurring grant starts anew, at midnight UTC: each day, on Mondays, on the first of the month."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Credits:
    """A limited grant; unlimited is no grant at all."""

    account_id: AccountId
    total: int
    reset: Reset | None
    """None: given once."""
    granted_ms: int
    """Which grant it is: setting it anew starts a new count."""
    added: int = 0
    """Given or taken (negative) on top, in the bucket that ends on ``added_until`` alone."""
    added_until: int = FOREVER

    def bucket(self, now_ms: int) -> Bucket:
        """Name where use is counted now, and how much fits in there."""
        until = FOREVER if self.reset is None else _last_day(self.reset, now_ms // DAY_MS)
        extra = self.added if self.added_until == until else 0
        return Bucket(f"credit:{self.account_id}:{self.granted_ms}", until, max(0, self.total + extra))

    def changed_by(self, difference: int, used: int, now_ms: int) -> Credits:
        """Add to what remains now, or take away; a recurring grant is itself again in the next period.

        ``used`` is what was counted in the present bucket. Less than nothing cannot remain, so that what is added later
        counts in full.
        """
        bucket = self.bucket(now_ms)
        size = min(TOTAL_MAX, max(used, bucket.size + difference))
        return replace(self, added=size - self.total, added_until=bucket.until_day)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One count."""

    key: str
    until_day: int
    """Number of the last UTC day that it counts for."""
    size: int


def _last_day(reset: Reset, day: int) -> int:
    match reset:
        case Reset.DAILY:
            return day
        case Reset.WEEKLY:
            return day + _WEEK_DAYS - 1 - (day + _MONDAY) % _WEEK_DAYS
        case Reset.MONTHLY:
            today = dt.date.fromordinal(day + _EPOCH)
            next_month = dt.date(today.year + today.month // 12, today.month % 12 + 1, 1)
            return next_month.toordinal() - 1 - _EPOCH


_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


def next_reset(credits_: Credits, now_ms: int) -> dt.date | None:
    """Say on which day a recurring grant starts anew."""
    until = credits_.bucket(now_ms).until_day
    return None if until == FOREVER else dt.date.fromordinal(until + 1 + _EPOCH)


def last_reset(credits_: Credits, now_ms: int) -> dt.date:
    """Say on which day the bucket that counts now began."""
    granted = dt.date.fromordinal(credits_.granted_ms // DAY_MS + _EPOCH)
    day = now_ms // DAY_MS
    match credits_.reset:
        case None:
            return granted
        case Reset.DAILY:
            first = day
        case Reset.WEEKLY:
            first = day - (day + _MONDAY) % _WEEK_DAYS
        case Reset.MONTHLY:
            first = dt.date.fromordinal(day + _EPOCH).replace(day=1).toordinal() - _EPOCH
    return max(granted, dt.date.fromordinal(first + _EPOCH))
