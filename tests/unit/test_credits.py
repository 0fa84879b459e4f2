from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.credits import FOREVER, TOTAL_MAX, Credits, Reset, last_reset, next_reset
from sekisho.ids import AccountId

MS = 86_400_000


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp() * 1000)


def day(text: str) -> int:
    return at(text) // MS


def grant(reset: Reset | None, total: int = 100) -> Credits:
    return Credits(AccountId(7), total, reset, at("2026-11-24T10:00"))


@pytest.mark.parametrize(
    ("reset", "now", "last", "begins"),
    [
        (Reset.DAILY, "2026-11-24T23:59:59", "2026-11-24", "2026-11-25"),
        (Reset.WEEKLY, "2026-11-24T12:00", "2026-11-29", "2026-11-30"),
        (Reset.WEEKLY, "2026-11-29T23:59", "2026-11-29", "2026-11-30"),
        (Reset.WEEKLY, "2026-11-30T00:00", "2026-12-06", "2026-12-07"),
        (Reset.MONTHLY, "2026-11-24T12:00", "2026-11-30", "2026-12-01"),
        (Reset.MONTHLY, "2026-12-31T23:59", "2026-12-31", "2027-01-01"),
        (Reset.MONTHLY, "2028-02-01T00:00", "2028-02-29", "2028-03-01"),
    ],
)
def test_a_period_ends_at_midnight_utc(reset: Reset, now: str, last: str, begins: str) -> None:
    assert grant(reset).bucket(at(now)).until_day == day(last)
    assert next_reset(grant(reset), at(now)) == dt.date.fromisoformat(begins)


def test_what_is_given_once_has_one_bucket_for_ever() -> None:
    given_once = grant(None)
    assert given_once.bucket(at("2026-11-24T12:00")) == given_once.bucket(at("2036-01-01T00:00"))
    assert given_once.bucket(0).until_day == FOREVER
    assert next_reset(given_once, at("2026-12-01T00:00")) is None


def test_another_grant_counts_anew() -> None:
    later = Credits(AccountId(7), 100, Reset.DAILY, at("2026-11-24T10:00") + 1)
    now_ms = at("2026-11-24T12:00")
    assert later.bucket(now_ms).key != grant(Reset.DAILY).bucket(now_ms).key


def test_what_was_added_is_gone_in_the_next_period() -> None:
    today, tomorrow = at("2026-11-24T12:00"), at("2026-11-25T12:00")
    more = grant(Reset.DAILY).changed_by(50, 0, today)
    assert (more.bucket(today).size, more.bucket(tomorrow).size) == (150, 100)
    less = more.changed_by(-20, 0, today)
    assert less.bucket(today).size == 130
    again = less.changed_by(5, 0, tomorrow)
    assert (again.bucket(today).size, again.bucket(tomorrow).size) == (100, 105)


def test_less_than_nothing_is_nothing() -> None:
    now_ms = at("2026-11-24T12:00")
    assert grant(None).changed_by(-1000, 0, now_ms).bucket(now_ms).size == 0


def test_what_is_added_after_more_was_taken_than_remained_counts_in_full() -> None:
    now_ms = at("2026-11-24T12:00")
    nothing = grant(None).changed_by(-1000, 30, now_ms)
    assert nothing.bucket(now_ms).size - 30 == 0
    assert nothing.changed_by(10, 30, now_ms).bucket(now_ms).size - 30 == 10
    assert grant(None).changed_by(TOTAL_MAX, 0, now_ms).bucket(now_ms).size == TOTAL_MAX


@pytest.mark.parametrize(
    ("reset", "now", "began"),
    [
        (Reset.DAILY, "2026-11-26T01:00", "2026-11-26"),
        (Reset.WEEKLY, "2026-11-26T01:00", "2026-11-24"),
        (Reset.WEEKLY, "2026-12-09T01:00", "2026-12-07"),
        (Reset.MONTHLY, "2026-12-09T01:00", "2026-12-01"),
        (None, "2030-01-01T00:00", "2026-11-24"),
    ],
)
def test_a_bucket_begins_with_its_period_or_its_grant(reset: Reset | None, now: str, began: str) -> None:
    assert last_reset(grant(reset), at(now)) == dt.date.fromisoformat(began)


@given(st.sampled_from(Reset), st.integers(0, 4_000_000_000_000))
def test_every_moment_is_in_one_bucket_that_ends_no_sooner_than_today(reset: Reset, now_ms: int) -> None:
    until = grant(reset).bucket(now_ms).until_day
    assert now_ms // MS <= until <= now_ms // MS + 31
    assert grant(reset).bucket(until * MS).until_day == until
    assert grant(reset).bucket((until + 1) * MS).until_day > until
