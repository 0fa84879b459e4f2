"""Day counters of the event store in the vendor's metrics (sheet suppressions-stats.md §2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from sekisho.events.model import EventKind
from sekisho.events.tables import BLOCKED, event_day

METRICS: Final = (
    "blocks",
    "bounce_drops",
    "bounces",
    "clicks",
    "deferred",
    "delivered",
    "invalid_emails",
    "opens",
    "processed",
    "requests",
    "spam_report_drops",
    "spam_reports",
    "unique_clicks",
    "unique_opens",
    "unsubscribe_drops",
    "unsubscribes",
)

Counts = Mapping[str, int]
"""Metric → how many; what is not there is none."""

NO_COUNTS: Final[Counts] = {}

_OF_KIND: Final[dict[str, tuple[str, ...]]] = {
    EventKind.PROCESSED.value: ("processed", "requests"),
    # Asked for, and not sent: the metric of the reason comes with suppressions.
    EventKind.DROPPED.value: ("requests",),
    EventKind.DEFERRED.value: ("deferred",),
    EventKind.DELIVERED.value: ("delivered",),
    EventKind.BOUNCE.value: ("bounces",),
    BLOCKED: ("blocks",),
}


@dataclass(frozen=True, slots=True)
class Days:
    """UTC days, numbered from 1970-01-01; both ends included."""

    first: int
    last: int


def by_day(
    tx: sa.Connection, account_id: int, subuser_ids: Collection[int], days: Days
) -> dict[int, dict[int, Counts]]:
    """Read the metrics of some subusers of one account: subuser → day → metrics. 0 is the account itself.

    Days and subusers without any event are left out.
    """
    found: dict[int, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    wanted = sorted(subuser_ids)
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        query = sa.select(
            event_day.c.subuser_id, event_day.c.day, event_day.c.kind, event_day.c.count.label("recipients")
        ).where(
            event_day.c.account_id == account_id,
            event_day.c.subuser_id.in_(wanted[start : start + _IDS_PER_QUERY]),
            event_day.c.day.between(days.first, days.last),
        )
        for row in tx.execute(query):
            for metric in _OF_KIND.get(row.kind, ()):
                found[row.subuser_id][row.day][metric] += row.recipients
    return {subuser: {day: dict(counts) for day, counts in each.items()} for subuser, each in found.items()}


def over(tx: sa.Connection, account_id: int, subuser_ids: Collection[int], days: Days) -> dict[int, Counts]:
    """Read the metrics of some subusers of one account over all the days together: subuser → metrics.

    Added up by the database: of thousands of subusers the days of a year are millions.
    """
    found: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    wanted = sorted(subuser_ids)
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        query = (
            sa.select(event_day.c.subuser_id, event_day.c.kind, sa.func.sum(event_day.c.count).label("recipients"))
            .where(
                event_day.c.account_id == account_id,
                event_day.c.subuser_id.in_(wanted[start : start + _IDS_PER_QUERY]),
                event_day.c.day.between(days.first, days.last),
            )
            .group_by(event_day.c.subuser_id, event_day.c.kind)
        )
        for row in tx.execute(query):
            for metric in _OF_KIND.get(row.kind, ()):
                found[row.subuser_id][metric] += int(row.recipients)
    return {subuser: dict(counts) for subuser, counts in found.items()}


_IDS_PER_QUERY: Final = 500


def added(days: Collection[Counts]) -> Counts:
    """Add up the metrics of several days."""
    total: dict[str, int] = defaultdict(int)
    for counts in days:
        for metric, count in counts.items():
            total[metric] += count
    return dict(total)


REPUTATION_DAYS: Final = 30

_BOUNCE_WEIGHT: Final = 2.0
_BLOCK_WEIGHT: Final = 1.0
_FEW: Final = 50
"""Below so many deliveries a share says little: they are counted as so many."""


def reputation(month: Counts) -> float:
    """Score 0 to 100 what a sender did in the last REPUTATION_DAYS: less by the share of bounces and of blocks.

    The vendor's formula is not published. 100 is a sender without any; one whose mail bounces to a tenth has 80, and
    one of whose mail half is refused as unwanted has 50. Who has not sent yet has 100.
    """
    bounces, blocks = month.get("bounces", 0), month.get("blocks", 0)
    ended = max(_FEW, month.get("delivered", 0) + bounces + blocks)
    lost = 100 * (_BOUNCE_WEIGHT * bounces + _BLOCK_WEIGHT * blocks) / ended
    return round(max(0.0, 100 - lost), 1)
