"""Who may be attempted beside whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sekisho.delivery.quarantine import GROUP, Quarantine


class Ward:
    """Notes who was let in, and lets them leave."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()
        self.begun: list[str] = []
        self.leave: dict[str, Callable[[], None]] = {}

    def enter(self, name: str, faults: int) -> None:
        def begin(leave: Callable[[], None]) -> None:
            self.begun.append(name)
            self.leave[name] = leave

        self.quarantine.enter(faults, begin)


async def turn() -> None:
    """Let what was called soon be called."""
    await asyncio.sleep(0)


async def test_first_timers_go_in_a_small_group() -> None:
    ward = Ward()
    for number in range(GROUP + 2):
        ward.enter(str(number), 1)
    assert len(ward.begun) == GROUP
    ward.leave["0"]()
    ward.leave["0"]()
    await turn()
    assert len(ward.begun) == GROUP + 1


async def test_the_rest_go_alone_and_the_least_suspect_first() -> None:
    ward = Ward()
    ward.enter("first", 1)
    for name, faults in (("worst", 4), ("bad", 2), ("second", 1)):
        ward.enter(name, faults)
    assert ward.begun == ["first", "second"]
    for name in ("second", "first"):
        assert "bad" not in ward.begun
        ward.leave[name]()
        await turn()
    assert ward.begun[2:] == ["bad"]
    ward.enter("third", 1)
    assert ward.begun[3:] == []
    ward.leave["bad"]()
    await turn()
    assert ward.begun[3:] == ["third"]
    ward.leave["third"]()
    await turn()
    assert ward.begun[4:] == ["worst"]


async def test_who_is_not_settled_for_long_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.delivery.quarantine.ALONE_S", 0.0)
    ward = Ward()
    ward.enter("slow", 2)
    ward.enter("next", 3)
    assert ward.begun == ["slow"]
    for _ in range(100):
        await turn()
        if len(ward.begun) > 1:
            break
    assert ward.begun == ["slow", "next"]
    ward.leave["slow"]()
