from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from sekisho.ports.dnscache import TTL_MAX_S, TTL_MIN_S, AnswerCache
from tests.fakes.clock import FakeClock


class Source:
    """Answers with a number that grows, so that each question shows; waits when told to."""

    def __init__(self, ttl_s: float = 60.0) -> None:
        self.ttl_s = ttl_s
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.faults: Iterator[BaseException] = iter(())

    async def ask(self, name: str) -> tuple[int, float]:
        self.asked.append(name)
        await self.open.wait()
        if (fault := next(self.faults, None)) is not None:
            raise fault
        return len(self.asked), self.ttl_s


def cache_of(source: Source, clock: FakeClock, entries_max: int = 100) -> AnswerCache[int]:
    return AnswerCache(source.ask, clock=clock, entries_max=entries_max)


async def test_an_answer_is_kept_for_its_time() -> None:
    clock, source = FakeClock(), Source(ttl_s=60)
    cache = cache_of(source, clock)
    assert cache.known("a.example") is None
    assert await cache.find("a.example") == 1
    clock.go(59.9)
    assert cache.known("a.example") == await cache.find("a.example") == 1
    clock.go(0.2)
    assert cache.known("a.example") is None
    assert await cache.find("a.example") == 2


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(0, TTL_MIN_S), (1e9, TTL_MAX_S)])
async def test_its_time_is_bounded(ttl_s: float, kept_s: float) -> None:
    clock, source = FakeClock(), Source(ttl_s)
    cache = cache_of(source, clock)
    await cache.find("a.example")
    clock.go(kept_s - 0.1)
    assert cache.known("a.example") == 1
    clock.go(0.2)
    assert cache.known("a.example") is None


async def test_the_machine_s_date_has_no_say() -> None:
    clock, source = FakeClock(), Source()
    cache = cache_of(source, clock)
    await cache.find("a.example")
    clock.at_ms += 10 * 365 * 86_400_000
    assert cache.known("a.example") == 1


async def test_who_comes_while_somebody_asks_waits_for_the_same_answer() -> None:
    clock, source = FakeClock(), Source()
    source.open.clear()
    cache = cache_of(source, clock)
    asking = [asyncio.create_task(cache.find(name)) for name in ("a.example", "b.example", "a.example", "a.example")]
    await asyncio.sleep(0)
    assert source.asked == ["a.example", "b.example"]
    source.open.set()
    first, other, *waited = await asyncio.gather(*asking)
    assert waited == [first, first]
    assert source.asked == ["a.example", "b.example"]
    assert cache.known("b.example") == other


async def test_who_waited_asks_when_the_first_was_cancelled() -> None:
    clock, source = FakeClock(), Source()
    source.open.clear()
    cache = cache_of(source, clock)
    first, second, third = (asyncio.create_task(cache.find("a.example")) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.open.set()
    assert await second == await third == 2
    assert source.asked == ["a.example"] * 2
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_question_that_breaks_leaves_nothing_behind() -> None:
    clock, source = FakeClock(), Source()
    source.faults = iter([RuntimeError("ours")])
    cache = cache_of(source, clock)
    with pytest.raises(RuntimeError, match="ours"):
        await cache.find("a.example")
    assert cache.known("a.example") is None
    assert await cache.find("a.example") == 2


async def test_beyond_its_bound_what_was_learnt_longest_ago_goes() -> None:
    clock, source = FakeClock(), Source(ttl_s=60)
    cache = cache_of(source, clock, entries_max=3)
    for name in ("a", "b", "c"):
        await cache.find(name)
    clock.go(61)
    await cache.find("b")  # learnt anew: the youngest
    clock.go(-2)  # the others show again
    for name in ("d", "e"):
        await cache.find(name)
    assert [name for name in ("a", "b", "c", "d", "e") if cache.known(name) is not None] == ["b", "d", "e"]
