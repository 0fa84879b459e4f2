from __future__ import annotations

import asyncio
from threading import Event

import pytest

from sekisho.users.hashing import Hasher, HasherBusy


async def test_work_beyond_the_bound_is_not_begun() -> None:
    hasher, goes_on = Hasher(threads=1, waiting_max=2), Event()
    done: list[int] = []

    def work(number: int) -> int:
        goes_on.wait(60)
        done.append(number)
        return number

    running = [asyncio.create_task(hasher.run(lambda number=number: work(number))) for number in (1, 2)]  # type: ignore[misc]
    await asyncio.sleep(0)
    with pytest.raises(HasherBusy):
        hasher.check()
    with pytest.raises(HasherBusy):
        await hasher.run(lambda: work(3))
    # Whoever waited goes: the thread has its work still, and its place is taken.
    running[1].cancel()
    await asyncio.gather(running[1], return_exceptions=True)
    with pytest.raises(HasherBusy):
        hasher.check()
    goes_on.set()
    assert await running[0] == 1
    assert await hasher.run(lambda: work(4)) == 4
    hasher.close()
    assert done == [1, 2, 4]


async def test_what_goes_wrong_in_the_thread_goes_wrong_for_who_asked_and_frees_the_place() -> None:
    hasher = Hasher(threads=1, waiting_max=1)

    def fail() -> None:
        message = "no memory"
        raise MemoryError(message)

    for _ in range(3):
        with pytest.raises(MemoryError):
            await hasher.run(fail)
    hasher.close()
