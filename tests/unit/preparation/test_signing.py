from __future__ import annotations

import asyncio
import threading

import pytest

from sekisho.preparation.signing import SigningThreads


async def test_results_and_faults_come_back_to_whom_they_belong() -> None:
    threads = SigningThreads(2)
    try:
        jobs = [threads.run(lambda number=number: number * number) for number in range(500)]  # type: ignore[misc]
        broken = threads.run(lambda: 1 // 0)

        assert await asyncio.gather(*jobs) == [number * number for number in range(500)]
        with pytest.raises(ZeroDivisionError):
            await broken
    finally:
        threads.close()


async def test_work_is_done_outside_the_loops_thread() -> None:
    threads = SigningThreads(1)
    try:
        assert await threads.run(threading.get_ident) != threading.get_ident()
    finally:
        threads.close()


async def test_a_cancelled_waiter_disturbs_nobody() -> None:
    threads = SigningThreads(1)
    gate = threading.Event()
    try:
        blocked = threads.run(gate.wait)
        cancelled = threads.run(lambda: 1)
        last = threads.run(lambda: 2)
        cancelled.cancel()
        gate.set()

        assert await last == 2
        assert await blocked
    finally:
        threads.close()
