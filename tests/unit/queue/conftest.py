from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.queue.local import LocalSpool

from .support import FakeClock, encode


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


OpenSpool = Callable[..., LocalSpool]


@pytest.fixture
async def open_spool(tmp_path: Path, clock: FakeClock) -> AsyncIterator[OpenSpool]:
    opened: list[LocalSpool] = []

    def make(directory: Path | None = None, **arguments: Any) -> LocalSpool:
        spool = LocalSpool(directory or tmp_path / "spool", **{"encode": encode, "clock": clock, **arguments})
        spool.start()
        opened.append(spool)
        return spool

    yield make
    for spool in opened:
        await asyncio.wait_for(spool.close(), 30)
