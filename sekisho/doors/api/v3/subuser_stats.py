"""``/v3/subusers/…stats`` and reputations: what subusers sent, by day or month.

Sheets accounts.md §2 and suppressions-stats.md §2.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery

from sekisho import accounts
from sekisho.accounts import Account
from sekisho.doors.api.caller import Caller, Calling
from sekisho.doors.api.paging import Page, read_page
from sekisho.doors.api.problems import invalid
from sekisho.doors.api.v3.subusers import find
from sekisho.doors.http.store import EventStored, Store, Stored
from sekisho.events.stats import METRICS, NO_COUNTS, REPUTATION_DAYS, Counts, Days, added, by_day, over, reputation
from sekisho.ports.clock import DAY_MS

Aggregation = Literal["day", "week", "month"]
Direction = Literal["desc", "asc"]

SUBUSERS_PER_QUERY: Final = 10
DAYS_MAX: Final = 400
"""The vendor keeps 13 months."""

_EPOCH: Final = dt.date(1970, 1, 1).toordinal()
_LAST_YEAR: Final = 9998
"""The month after a day is a month of the calendar."""
_FEW: Final = 5
_NAMES_MAX: Final = 1000
_SORTABLE: Final = frozenset(METRICS) - {
    "bounce_drops",
    "deferred",
    "invalid_emails",
    "processed",
    "spam_report_drops",
    "spam_reports",
    "unsubscribe_drops",
}


class Metrics(msgspec.Struct, frozen=True):
    """Counts of recipients."""

    blocks: int = 0
    bounce_drops: int = 0
    bounces: int = 0
    clicks: int = 0
    deferred: int = 0
    delivered: int = 0
    invalid_emails: int = 0
    opens: int = 0
    processed: int = 0
    requests: int = 0
    spam_report_drops: int = 0
    spam_reports: int = 0
    unique_clicks: int = 0
    unique_opens: int = 0
    unsubscribe_drops: int = 0
    unsubscribes: int = 0


class Stat(msgspec.Struct, frozen=True):
    """The counts of one day, week or month; ``date`` is its first day."""

    date: str
    stats: list[dict[str, str | Metrics]]


class Reputation(msgspec.Struct, frozen=True):
    """0 to 100."""

    reputation: float
    username: str


@get("/v3/subusers/reputations", summary="Reputations of subusers, 0 to 100")
async def reputations(
    caller: Calling, store: Stored, event_store: EventStored, usernames: FromQuery[list[str] | None] = None
) -> list[Reputation]:
    chosen = await _chosen(caller, store, _split(usernames))
    today = caller.now_ms // DAY_MS
    found = await event_store.read(
        lambda tx: over(tx, caller.account_id, [one.id for one in chosen], Days(today - REPUTATION_DAYS + 1, today))
    )
    return [Reputation(reputation(found.get(one.id, NO_COUNTS)), one.name) for one in chosen]


@get("/v3/subusers/stats", summary="Statistics of some subusers")
async def stats(
    caller: Calling,
    store: Stored,
    event_store: EventStored,
    start_date: FromQuery[str],
    subusers: FromQuery[list[str]],
    end_date: FromQuery[str | None] = None,
    aggregated_by: FromQuery[Aggregation] = "day",
    limit: FromQuery[int | None] = None,
    offset: FromQuery[int | None] = None,
) -> list[Stat]:
    page = read_page(limit, offset)
    names = _split(subusers)
    if not names or len(names) > SUBUSERS_PER_QUERY:
        raise invalid(f"name 1 to {SUBUSERS_PER_QUERY} subusers", "subusers")
    days = _days(start_date, end_date, caller)
    chosen = await _chosen(caller, store, names)
    found = await event_store.read(lambda tx: by_day(tx, caller.account_id, [one.id for one in chosen], days))
    spans = list(_spans(days, aggregated_by))[page.offset : page.offset + page.limit]
    return [
        Stat(_date(span.first), [_stat(one, _sum(found.get(one.id, {}), span)) for one in chosen]) for span in spans
    ]


@get("/v3/subusers/stats/sums", summary="Statistics of subusers over a time, the largest first")
async def sums(
    caller: Calling,
    store: Stored,
    event_store: EventStored,
    start_date: FromQuery[str],
    end_date: FromQuery[str | None] = None,
    aggregated_by: FromQuery[Aggregation] = "day",  # noqa: ARG001 - the vendor takes it; a sum is a sum
    sort_by_metric: FromQuery[str] = "delivered",
    sort_by_direction: FromQuery[Direction] = "desc",
    limit: FromQuery[int | None] = None,
    offset: FromQuery[int | None] = None,
) -> Stat:
    page = read_page(limit, offset, default=_FEW)
    days = _days(start_date, end_date, caller)
    chosen = await _chosen(caller, store, [])
    ranked = await _ranked(caller, event_store, chosen, days, sort_by_metric, sort_by_direction)
    return Stat(_date(days.first), [_stat(one, counts) for one, counts in _part(ranked, page)])


@get("/v3/subusers/stats/monthly", summary="Statistics of subusers in one month, the largest first")
async def monthly(
    caller: Calling,
    store: Stored,
    event_store: EventStored,
    date: FromQuery[str],
    subuser: FromQuery[str | None] = None,
    sort_by_metric: FromQuery[str] = "delivered",
    sort_by_direction: FromQuery[Direction] = "desc",
    limit: FromQuery[int | None] = None,
    offset: FromQuery[int | None] = None,
) -> Stat:
    page = read_page(limit, offset, default=_FEW)
    days = _month(date)
    chosen = await _chosen(caller, store, [], matching=subuser)
    ranked = await _ranked(caller, event_store, chosen, days, sort_by_metric, sort_by_direction)
    return Stat(_date(days.first), [_monthly(one, counts) for one, counts in _part(ranked, page)])


@get("/v3/subusers/{subuser_name:str}/stats/monthly", summary="Statistics of one subuser in one month")
async def monthly_of(
    caller: Calling,
    store: Stored,
    event_store: EventStored,
    subuser_name: FromPath[str],
    date: FromQuery[str],
    sort_by_metric: FromQuery[str] = "delivered",
    sort_by_direction: FromQuery[Direction] = "desc",
    limit: FromQuery[int | None] = None,
    offset: FromQuery[int | None] = None,
) -> Stat:
    page = read_page(limit, offset, default=_FEW)
    days = _month(date)
    one = await store.read(lambda tx: find(tx, caller, subuser_name))
    ranked = await _ranked(caller, event_store, [one], days, sort_by_metric, sort_by_direction)
    return Stat(_date(days.first), [_monthly(each, counts) for each, counts in _part(ranked, page)])


async def _chosen(
    caller: Caller, store: Store, names: Sequence[str], *, matching: str | None = None
) -> Sequence[Account]:
    """Read the caller's subusers of these names, or all whose name matches; one that is not there is not found."""
    if names:
        return await store.read(lambda tx: [find(tx, caller, name) for name in names])
    every = await store.read(lambda tx: accounts.list_subusers(tx, caller.account_id))
    wanted = None if matching is None else matching.lower()
    return [one for one in every if wanted is None or wanted in one.name.lower()]


async def _ranked(
    caller: Caller, events: Store, chosen: Sequence[Account], days: Days, metric: str, direction: Direction
) -> list[tuple[Account, Counts]]:
    if metric not in _SORTABLE:
        raise invalid(f"sort_by_metric must be one of {', '.join(sorted(_SORTABLE))}", "sort_by_metric")
    found = await events.read(lambda tx: over(tx, caller.account_id, [one.id for one in chosen], days))
    pairs = [(one, found.get(one.id, NO_COUNTS)) for one in chosen]
    pairs.sort(key=lambda pair: pair[0].name.lower())
    pairs.sort(key=lambda pair: pair[1].get(metric, 0), reverse=direction == "desc")
    return pairs


def _part(ranked: list[tuple[Account, Counts]], page: Page) -> list[tuple[Account, Counts]]:
    return ranked[page.offset : page.offset + page.limit]


def _split(names: list[str] | None) -> list[str]:
    """Take names that are repeated, and names that stand in one value with commas; each once."""
    found = [name for value in names or [] for name in value.split(",") if name]
    if len(found) > _NAMES_MAX:
        raise invalid(f"at most {_NAMES_MAX} names at a time", "usernames")
    return list(dict.fromkeys(found))


def _days(start: str, end: str | None, caller: Caller) -> Days:
    first = _day(start, "start_date")
    last = caller.now_ms // DAY_MS if end is None else _day(end, "end_date")
    if last < first:
        raise invalid("end_date is before start_date", "end_date")
    if last - first >= DAYS_MAX:
        raise invalid(f"at most {DAYS_MAX} days at a time", "start_date")
    return Days(first, last)


def _day(text: str, field: str) -> int:
    try:
        day = dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise invalid("a date is written YYYY-MM-DD", field) from None
    if day.year > _LAST_YEAR:
        raise invalid(f"a year is at most {_LAST_YEAR}", field)
    return day.toordinal() - _EPOCH


def _month(text: str) -> Days:
    day = dt.date.fromordinal(_day(text, "date") + _EPOCH).replace(day=1)
    after = (day + dt.timedelta(days=31)).replace(day=1)
    return Days(day.toordinal() - _EPOCH, after.toordinal() - _EPOCH - 1)


def _spans(days: Days, by: Aggregation) -> Iterator[Days]:
    """Cut days into days, weeks (from Monday) or months; the first and the last may be parts."""
    first = days.first
    while first <= days.last:
        day = dt.date.fromordinal(first + _EPOCH)
        match by:
            case "day":
                after = day + dt.timedelta(days=1)
            case "week":
                after = day + dt.timedelta(days=7 - day.weekday())
            case "month":
                after = (day.replace(day=1) + dt.timedelta(days=31)).replace(day=1)
        last = min(days.last, after.toordinal() - _EPOCH - 1)
        yield Days(first, last)
        first = last + 1


def _sum(found: dict[int, Counts], span: Days) -> Counts:
    return added([found.get(day, NO_COUNTS) for day in range(span.first, span.last + 1)])


def _date(day: int) -> str:
    return dt.date.fromordinal(day + _EPOCH).isoformat()


def _stat(one: Account, counts: Counts) -> dict[str, str | Metrics]:
    return {"type": "subuser", "name": one.name, "metrics": Metrics(**counts)}


def _monthly(one: Account, counts: Counts) -> dict[str, str | Metrics]:
    # Names of people are theirs, not the subuser's; the vendor's fields stay empty.
    return {"first_name": "", "last_name": "", **_stat(one, counts)}


HANDLERS = (reputations, stats, sums, monthly, monthly_of)
