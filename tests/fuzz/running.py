"""Coroutines that never wait for the world, run to their end."""

from __future__ import annotations

import asyncio
import atexit
import functools
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return _loop().run_until_complete(coroutine)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    # One for all inputs: to make one takes longer than to try an input.
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop
