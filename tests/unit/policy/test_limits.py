from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.policy.limits import Over, RateLog, admit_daily, admit_rate, utc_day
from sekisho.ports.clock import DAY_MS

SECOND = 1_000
MINUTE = 60_000


@pytest.mark.parametrize(
    ("log", "wanted", "count", "window_ms", "now_ms", "expected"),
    [
        pytest.param((), 1, 10, MINUTE, 0, ((999, 1),), id="the first"),
        pytest.param(((999, 3),), 2, 10, MINUTE, 500, ((999, 5),), id="the same bucket grows"),
        pytest.param(((999, 3),), 2, 10, MINUTE, 1_000, ((999, 3), (1_999, 2)), id="the next bucket"),
        pytest.param(((999, 10),), 1, 10, MINUTE, 5_000, Over(60_999), id="full"),
        pytest.param(((999, 10),), 1, 10, MINUTE, 60_998, Over(60_999), id="full until the whole bucket is out"),
        pytest.param(((999, 10),), 1, 10, MINUTE, 60_999, ((60_999, 1),), id="free at the time that was told"),
        pytest.param(((999, 4), (1_999, 6)), 5, 10, MINUTE, 9_000, Over(61_999), id="room needs two buckets to go"),
        pytest.param(((999, 4), (1_999, 6)), 4, 10, MINUTE, 9_000, Over(60_999), id="room needs one bucket to go"),
        pytest.param((), 11, 10, MINUTE, 0, Over(None), id="never"),
        pytest.param((), 1, 0, MINUTE, 0, Over(None), id="a limit of none"),
        pytest.param((), 10, 10, MINUTE, 0, ((999, 10),), id="exactly the limit"),
        pytest.param(((9_999, 4),), 6, 10, MINUTE, 1_000, ((1_999, 10),), id="clock set back: counted as now"),
        pytest.param(((9_999, 4),), 7, 10, MINUTE, 1_000, Over(61_999), id="clock set back: still full"),
        pytest.param(
            ((999, 1), (9_999, 4), (10_999, 2)),
            1,
            10,
            MINUTE,
            2_000,
            ((999, 1), (2_999, 7)),
            id="set back among others",
        ),
        pytest.param(
            ((59_999, 8),), 2, 10, SECOND, 59_100, ((59_108, 10),), id="window made shorter: wide bucket is folded"
        ),
        pytest.param(
            ((16, 8),), 2, 10, MINUTE, 500, ((16, 8), (999, 2)), id="window made longer: old entries keep counting"
        ),
    ],
)
def test_admit_rate(
    *, log: RateLog, wanted: int, count: int, window_ms: int, now_ms: int, expected: RateLog | Over
) -> None:
    assert admit_rate(log, wanted, count, window_ms, now_ms) == expected


@pytest.mark.parametrize(
    ("spent", "wanted", "count", "now_ms", "expected"),
    [
        (0, 1, 5, 0, 1),
        (4, 1, 5, 0, 5),
        (5, 1, 5, 0, Over(DAY_MS)),
        (5, 1, 5, DAY_MS - 1, Over(DAY_MS)),
        (5, 1, 5, DAY_MS, Over(2 * DAY_MS)),
        (0, 6, 5, 0, Over(None)),
        (0, 1, 0, 0, Over(None)),
        (3, 3, 5, 0, Over(DAY_MS)),
    ],
)
def test_admit_daily(spent: int, wanted: int, count: int, now_ms: int, expected: int | Over) -> None:
    assert admit_daily(spent, wanted, count, now_ms) == expected


def test_utc_day() -> None:
    assert [utc_day(0), utc_day(DAY_MS - 1), utc_day(DAY_MS)] == [0, 0, 1]


requests = st.lists(st.tuples(st.integers(0, 2_500), st.integers(1, 12)), max_size=120)
windows = st.sampled_from([SECOND, MINUTE, 7, 59, 61])


def _admitted(steps: list[tuple[int, int, int]], count: int, window_ms: int) -> tuple[list[tuple[int, int]], RateLog]:
    """Run requests ``(real_ms, clock_ms, wanted)``; what was let through, by real time, and the final log."""
    log: RateLog = ()
    through = []
    for real_ms, clock_ms, wanted in steps:
        found = admit_rate(log, wanted, count, window_ms, clock_ms)
        if not isinstance(found, Over):
            log = found
            through.append((real_ms, wanted))
    return through, log


def _most_in_any_window(through: list[tuple[int, int]], window_ms: int) -> int:
    return max(
        (sum(taken for at, taken in through if end - window_ms < at <= end) for end, _ in through),
        default=0,
    )


@given(requests=requests, count=st.integers(1, 30), window_ms=windows, start=st.integers(0, 10**13))
def test_no_window_ever_holds_more_than_the_limit(
    requests: list[tuple[int, int]], count: int, window_ms: int, start: int
) -> None:
    now, steps = start, []
    for gap, wanted in requests:
        now += gap
        steps.append((now, now, wanted))
    through, log = _admitted(steps, count, window_ms)
    assert _most_in_any_window(through, window_ms) <= count
    assert len(log) <= 62


@given(
    requests=st.lists(st.tuples(st.integers(0, 2_500), st.integers(1, 12), st.integers(0, 3_000)), max_size=80),
    count=st.integers(1, 30),
    window_ms=windows,
)
def test_setting_the_clock_back_never_admits_more(
    requests: list[tuple[int, int, int]], count: int, window_ms: int
) -> None:
    real, behind, steps = 10**9, 0, []
    for gap, wanted, set_back in requests:
        real += gap
        behind += set_back if set_back > 2_000 else 0
        steps.append((real, real - behind, wanted))
    through, _ = _admitted(steps, count, window_ms)
    assert _most_in_any_window(through, window_ms) <= count


@given(requests=requests, count=st.integers(1, 30), window_ms=windows, wanted=st.integers(1, 30))
def test_what_is_refused_fits_at_the_time_told(
    requests: list[tuple[int, int]], count: int, window_ms: int, wanted: int
) -> None:
    now = 10**9
    log: RateLog = ()
    for gap, size in requests:
        now += gap
        found = admit_rate(log, size, count, window_ms, now)
        log = log if isinstance(found, Over) else found
    found = admit_rate(log, wanted, count, window_ms, now)
    if isinstance(found, Over) and found.until_ms is not None:
        assert found.until_ms > now
        assert isinstance(admit_rate(log, wanted, count, window_ms, found.until_ms - 1), Over)
        assert not isinstance(admit_rate(log, wanted, count, window_ms, found.until_ms), Over)
    else:
        assert isinstance(found, Over) == (wanted > count)
