from __future__ import annotations

import pytest

from sekisho.ports.clock import STEP_MS, SteadyClock
from tests.fakes.clock import FakeClock

HOUR_MS = 3_600_000
YEARS_MS = 10 * 365 * 86_400_000


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, YEARS_MS, -YEARS_MS])
def test_a_step_of_the_wall_clock_is_not_followed_and_told_once(step_ms: int) -> None:
    wall = FakeClock()
    told: list[int] = []
    clock = SteadyClock(wall, on_step=told.append)
    before = clock.now_ms()
    wall.go(10)
    wall.at_ms += step_ms
    assert clock.now_ms() - before == 10_000
    wall.go(3)
    assert clock.now_ms() - before == 13_000
    assert told == [step_ms]
    assert clock.offset_ms == -step_ms
    wall.at_ms -= step_ms
    assert clock.now_ms() - before == 13_000
    assert (clock.offset_ms, told) == (0, [step_ms, -step_ms])


def test_a_clock_that_is_slewed_is_followed() -> None:
    wall = FakeClock()
    clock = SteadyClock(wall)
    before = clock.now_ms()
    for _ in range(10):
        wall.go(1)
        wall.at_ms += STEP_MS - 1
        clock.now_ms()
    assert clock.now_ms() - before == 10 * (1000 + STEP_MS - 1)
    assert clock.offset_ms == 0


def test_a_long_wait_is_no_step() -> None:
    wall = FakeClock()
    clock = SteadyClock(wall, offset_ms=-7)
    before = clock.now_ms()
    wall.go(1_000_000)
    assert clock.now_ms() - before == 1_000_000_000
    assert clock.offset_ms == -7
    assert clock.monotonic() == wall.monotonic()
