from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.queue.model import Caps, Deferred
from sekisho.queue.operator import Operator
from sekisho.queue.selection import Selection
from sekisho.queue.spool import Settlement
from sekisho.queue.timeline import AWAY_MAX_MS, resume
from sekisho.refusal import Reason, Refused

from .conftest import OpenSpool
from .support import NOW_MS, accepted, due, encode, make, rows

HOUR_MS = 3_600_000
YEARS_MS = 10 * 365 * 86_400_000
STEPS = [HOUR_MS, -HOUR_MS, YEARS_MS, -YEARS_MS]


class SetClock:
    """A machine's clock that is set, while time goes on."""

    def __init__(self) -> None:
        self.set_ms = NOW_MS
        self.passed_ms = 0

    def now_ms(self) -> int:
        return self.set_ms + self.passed_ms

    def monotonic(self) -> float:
        return self.passed_ms / 1000


@pytest.mark.parametrize(
    ("offset_ms", "seen_ms", "wall_ms", "expected_ms"),
    [
        (0, 0, NOW_MS, NOW_MS),  # nothing is known
        (0, NOW_MS - 5000, NOW_MS, NOW_MS),  # a short absence
        (0, NOW_MS, NOW_MS - HOUR_MS, NOW_MS),  # set back meanwhile
        (0, NOW_MS, NOW_MS - YEARS_MS, NOW_MS),
        (0, NOW_MS, NOW_MS + HOUR_MS, NOW_MS + HOUR_MS),  # set forward, or gone for an hour
        (0, NOW_MS, NOW_MS + YEARS_MS, NOW_MS + AWAY_MAX_MS),
        (-YEARS_MS, NOW_MS, NOW_MS + YEARS_MS, NOW_MS),  # set forward while it ran, and still so
        (-YEARS_MS, NOW_MS, NOW_MS, NOW_MS),  # and mended meanwhile
        (YEARS_MS, NOW_MS, NOW_MS, NOW_MS + AWAY_MAX_MS),
    ],
)
def test_time_goes_on_where_it_was(offset_ms: int, seen_ms: int, wall_ms: int, expected_ms: int) -> None:
    assert wall_ms + resume(offset_ms, seen_ms, wall_ms) == expected_ms


@pytest.mark.parametrize("step_ms", STEPS)
async def test_a_step_while_running_changes_no_due_time_and_no_age(open_spool: OpenSpool, step_ms: int) -> None:
    machine = SetClock()
    spool = open_spool(clock=machine)
    (delivery,) = accepted(await spool.append(make("a@d.example")))
    now_ms = spool.clock.now_ms()
    await spool.settle(Settlement(delivery, Deferred("451", now_ms + 60_000), now_ms))
    machine.set_ms += step_ms
    machine.passed_ms += 59_000
    assert not await due(spool, "d.example", spool.clock.now_ms(), 9)
    machine.passed_ms += 1_000
    (found,) = await due(spool, "d.example", spool.clock.now_ms(), 9)
    assert spool.clock.now_ms() - found.since_ms == 60_000


@pytest.mark.parametrize("step_ms", STEPS)
async def test_a_step_across_a_restart_delays_nothing_and_expires_nothing(
    open_spool: OpenSpool, tmp_path: Path, step_ms: int
) -> None:
    machine = SetClock()
    spool = open_spool(clock=machine)
    (delivery,) = accepted(await spool.append(make("a@d.example")))
    now_ms = spool.clock.now_ms()
    await spool.settle(Settlement(delivery, Deferred("451", now_ms + 60_000), now_ms))
    await spool.close()
    machine.set_ms += step_ms
    again = open_spool(clock=machine)
    machine.passed_ms += 60_000
    (found,) = await due(again, "d.example", again.clock.now_ms(), 9)
    assert again.clock.now_ms() - found.since_ms <= AWAY_MAX_MS + 60_000
    # People are shown the time of the wall.
    accepted(await again.append(make("b@d.example")))
    with Operator(tmp_path / "spool", clock=machine, encode=encode) as operator:
        _, second = operator.list(Selection(), 9)
        assert second.accepted_ms == machine.now_ms()


@pytest.mark.parametrize("step_ms", STEPS)
async def test_a_step_does_not_keep_a_rate_closed(open_spool: OpenSpool, step_ms: int) -> None:
    machine = SetClock()
    spool = open_spool(clock=machine)
    caps = Caps(make().message.key_id, rate_count=1, rate_window_s=60)
    accepted(await spool.append(make(caps=caps)))
    machine.set_ms += step_ms
    refused = await spool.append(make(caps=caps))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.RATE_EXCEEDED
    machine.passed_ms += 61_000
    accepted(await spool.append(make(caps=caps)))


async def test_an_empty_queue_follows_the_wall_clock_again(open_spool: OpenSpool, tmp_path: Path) -> None:
    machine = SetClock()
    spool = open_spool(clock=machine)
    await spool.append(make("a@d.example", dropped_reason="x"))
    machine.set_ms -= YEARS_MS
    await spool.append(make("b@d.example", dropped_reason="x"))
    assert rows(tmp_path / "spool", "SELECT offset_ms FROM clock") == [YEARS_MS]
    await spool.close()
    assert open_spool(clock=machine).clock.now_ms() == machine.now_ms()
