"""A process of its own that uses a spool, and says on standard output what it was told."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from sekisho.ids import KeyId
from sekisho.ports.clock import SystemClock
from sekisho.queue.local import LocalSpool
from sekisho.queue.model import Caps, Delivered
from sekisho.queue.spool import Settlement
from sekisho.refusal import Refused

from .support import NOW_MS, accepted, encode, make


def say(line: str) -> None:
    # One write per line: killed at any moment, what was written was written whole.
    os.write(1, f"{line}\n".encode())


async def work(spool: LocalSpool) -> None:
    """Append and settle without end: ``accepted ADDRESS``, then for every other one ``settled ADDRESS``."""
    numbers = itertools.count()

    async def one_after_the_other() -> None:
        while True:
            number = next(numbers)
            address = f"{os.getpid()}-{number}@d.example"
            (delivery,) = accepted(await spool.append(make(address, body=bytes(3000))))
            say(f"accepted {address}")
            if number % 2:
                assert await spool.settle(Settlement(delivery, Delivered("250"), NOW_MS))
                say(f"settled {address}")

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(one_after_the_other())


async def capped(spool: LocalSpool, count: int) -> None:
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    caps = Caps(KeyId("k"), daily=50)

    async def one() -> None:
        answer = await spool.append(make(caps=caps))
        say(answer.reason.value if isinstance(answer, Refused) else "ok")

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())


class Failing:
    """A connection whose commits fail for good, as after a failed sync."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._connection.execute(sql, *arguments)


async def fail(spool: LocalSpool) -> None:
    """Work, until storage fails under it."""
    asyncio.get_running_loop().call_later(
        0.2, setattr, spool._writer, "_connection", Failing(spool._writer._connection)
    )
    await work(spool)


async def main(directory: Path, action: str, *arguments: str) -> None:
    spool = LocalSpool(directory, encode=encode, clock=SystemClock())
    spool.start()
    if action == "work":
        await work(spool)
    elif action == "fail":
        await fail(spool)
    else:
        await capped(spool, int(arguments[0]))
    await spool.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
