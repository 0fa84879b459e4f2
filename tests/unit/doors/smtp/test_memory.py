from __future__ import annotations

import random

import pytest

from sekisho.doors.smtp.memory import SessionMemory


class Holder:
    def __init__(self) -> None:
        self.woken = 0

    def proceed(self) -> None:
        self.woken += 1


def holders(number: int) -> list[Holder]:
    return [Holder() for _ in range(number)]


def test_within_the_budget_nobody_waits() -> None:
    memory = SessionMemory(100)
    assert all(memory.report(holder, 20) for holder in holders(5))
    assert memory.used_bytes == 100


def test_over_the_budget_the_heavy_wait_but_one() -> None:
    memory = SessionMemory(100)
    first, second, light = holders(3)
    assert memory.report(first, 60)
    assert memory.report(second, 60)  # the one that goes on
    assert not memory.report(first, 61)
    assert memory.report(light, 5)
    assert memory.report(second, 90)
    memory.report(second, 0)
    assert first.woken == 1


def test_those_who_wait_go_on_when_memory_is_free() -> None:
    memory = SessionMemory(100)
    favoured, second, third = holders(3)
    for holder in (second, third):
        memory.report(holder, 30)
    assert memory.report(favoured, 50)
    assert not memory.report(second, 50)
    assert not memory.report(third, 50)
    memory.report(favoured, 0)
    assert (second.woken, third.woken) == (1, 1)


def test_one_that_cannot_wait_goes_on() -> None:
    memory = SessionMemory(10)
    first, second = holders(2)
    memory.report(first, 20)
    assert memory.report(second, 50, can_wait=False)


def test_a_session_that_is_gone_passes_its_favour_on() -> None:
    memory = SessionMemory(10)
    first, second, third = holders(3)
    assert memory.report(first, 20)
    assert not memory.report(second, 20)
    assert not memory.report(third, 20)
    memory.forget(first)
    assert (second.woken, third.woken) == (1, 0)
    memory.forget(second)
    assert third.woken == 1
    memory.forget(third)
    assert memory.used_bytes == 0


@pytest.mark.parametrize("seed", range(20))
def test_everybody_ends_whatever_the_order(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret, only another order
    memory = SessionMemory(100)
    waiting: set[Holder] = set()

    class Session(Holder):
        def __init__(self) -> None:
            super().__init__()
            self.held = 0
            self.target = chance.randrange(1, 80)

        def proceed(self) -> None:
            waiting.discard(self)

    sessions = {Session() for _ in range(30)}
    for _ in range(5000):
        ready = [one for one in sessions if one not in waiting]
        if not ready:
            break
        one = chance.choice(sorted(ready, key=id))
        one.held += 5
        if one.held >= one.target:
            memory.forget(one)
            sessions.discard(one)
        elif not memory.report(one, one.held):
            waiting.add(one)
    assert not sessions
    assert memory.used_bytes == 0
