from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.shaping import Bucket, NextHop, Shape, Shaping, ShapingRow
from sekisho.delivery.site import MxHost, Site

GOOGLE = Site((MxHost(0, "aspmx.l.google.com"), MxHost(1, "alt1.aspmx.l.google.com"), MxHost(2, "backup.example")))
OWN = Site((MxHost(0, "mail.example.com"),), implicit=True)
ROUTE = Target("smart.example.net", 587, RouteTls.REQUIRED)


def row(number: int, mx: str = "", domain: str = "") -> ShapingRow:
    return ShapingRow(mx, domain, Shape(connections=number))


@pytest.mark.parametrize(
    ("rows", "hop", "domain", "connections"),
    [
        ([], OWN, "example.com", 8),
        ([row(1, "mail.example.com")], OWN, "example.com", 1),
        ([row(1, "*.example.com")], OWN, "example.com", 1),
        ([row(1, "example.com")], OWN, "example.com", 8),
        ([row(1, domain="example.com")], OWN, "example.com", 1),
        ([row(1, domain="example.com")], OWN, "other.example", 8),
        ([row(1, domain="*.example.com")], OWN, "example.com", 8),
        ([row(1, domain="*")], OWN, "example.com", 1),
        ([row(1, "*")], OWN, "example.com", 1),
        ([row(1, "*.google.com", "example.com")], GOOGLE, "example.com", 1),
        ([row(1, "*.google.com", "example.com")], GOOGLE, "other.example", 8),
        ([row(1, "*.google.com", "example.com")], OWN, "example.com", 8),
        # Only the best rank counts: the backup may be somebody else's.
        ([row(1, "backup.example")], GOOGLE, "example.com", 8),
        ([row(1, "*.example.net"), row(2, "smart.example.net")], ROUTE, "x.example", 1),
        ([row(1, "*.nowhere.example"), row(2, domain="x.example"), row(3, "*")], ROUTE, "x.example", 2),
    ],
)
def test_the_first_row_wins(rows: list[ShapingRow], hop: NextHop, domain: str, connections: int) -> None:
    assert Shaping(rows).find(hop, domain).connections == connections


def test_workers_share_the_limits() -> None:
    shape = Shape(connections=10, per_second=1.0, messages_per_connection=50)
    table = Shaping([ShapingRow("", "*", shape)], workers=4)
    assert table.find(OWN, "example.com") == Shape(connections=2, per_second=0.25, messages_per_connection=50)
    assert Shaping([ShapingRow("", "*", Shape(connections=1))], workers=4).find(OWN, "x").connections == 1


def test_a_bucket_gives_a_second_s_worth_at_once_and_then_keeps_the_rate() -> None:
    bucket = Bucket(10.0, 0.0)
    for _ in range(10):
        assert bucket.wait_s(0.0) == 0
        bucket.take(1, 0.0)
    assert bucket.wait_s(0.0) == pytest.approx(0.1)
    assert bucket.wait_s(0.1) == 0


def test_a_slow_rate_starts_with_one() -> None:
    bucket = Bucket(1 / 60, 0.0)
    assert bucket.wait_s(0.0) == 0
    bucket.take(1, 0.0)
    assert bucket.wait_s(0.0) == pytest.approx(60)


def test_what_goes_together_is_paid_back() -> None:
    bucket = Bucket(10.0, 0.0)
    bucket.take(100, 0.0)
    assert bucket.wait_s(0.0) == pytest.approx(9.1)


@given(
    per_second=st.floats(0.001, 1000),
    steps=st.lists(st.tuples(st.integers(1, 100), st.floats(0, 10)), max_size=50),
)
def test_a_rate_is_never_exceeded_and_every_wait_ends(per_second: float, steps: list[tuple[int, float]]) -> None:
    bucket = Bucket(per_second, 0.0)
    now, taken = 0.0, 0
    for count, idle_s in steps:
        now += bucket.wait_s(now)
        assert bucket.wait_s(now) < 1e-3 / per_second
        bucket.take(count, now)
        taken += count
        # Less the last, which may have gone into debt.
        assert taken - count <= max(1.0, per_second) + per_second * now + 1e-3
        now += idle_s
