"""Databases for handlers: short transactions in threads, so that nothing blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidation
from sqlalchemy import Connection

from sekisho.db import Database
from sekisho.refusal import Declined

T = TypeVar("T")

WAITING_MAX: Final = 200
"""Transactions under way or waiting for a thread; more requests than that at once are told to come back."""

DEADLINE_S: Final = 10.0
"""A database that takes longer is taken for unreachable. What was begun may still commit: the answer says 503."""


class Overloaded(Exception):
    """Too many wait, or the database takes too long: the client is told to come back."""


class NotDone(Exception):
    """Ends a request whose change was declined; nothing was changed."""

    def __init__(self, declined: Declined, field: str | None) -> None:
        super().__init__(declined.text)
        self.declined: Final = declined
        self.field: Final = field
        """Where in the request the reason stands."""


class Store:
    """One database, from the loop's side."""

    def __init__(self, database: Database, threads: Executor) -> None:
        self._database: Final = database
        self._threads: Final = threads
        self._waiting = 0

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query on one snapshot."""

        def run() -> T:
            with self._database.connect() as tx:
                return query(tx)

        return await self.in_thread(run)

    async def write(self, action: Callable[[Connection], T | Declined], *, field: str | None = None) -> T:
        """Run one change: committed when this returns.

        Raises NotDone, with nothing changed, when the action was declined; ``field`` is what it is blamed on.
        """
        answer = await self.attempt(action)
        if isinstance(answer, Declined):
            raise NotDone(answer, field)
        return answer

    async def attempt(self, action: Callable[[Connection], T | Declined]) -> T | Declined:
        """Run one change: committed when this returns, unless it was declined: then nothing is changed."""

        def run() -> T | Declined:
            try:
                with self._database.begin() as tx:
                    return _or_undone(action(tx))
            except _UndoneError as undone:
                return undone.declined

        return await self.in_thread(run)

    async def in_thread(self, run: Callable[[], T]) -> T:
        """Do what blocks and needs no transaction of this database, within the same bounds. Raises Overloaded."""
        if self._waiting >= WAITING_MAX:
            raise Overloaded
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, run)
        future.add_done_callback(self._done)
        try:
            # Shielded: a thread cannot be stopped, and its place is taken until it is done.
            return await asyncio.wait_for(asyncio.shield(future), DEADLINE_S)
        except TimeoutError:
            raise Overloaded from None

    def _done(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # whoever waited may have gone; then nobody else looks


class _UndoneError(Exception):
    """Ends a transaction without a trace."""

    def __init__(self, declined: Declined) -> None:
        super().__init__(declined.text)
        self.declined: Final = declined


def _or_undone(answer: T | Declined) -> T:
    if isinstance(answer, Declined):
        raise _UndoneError(answer)
    return answer


Stored = NamedDependency[SkipValidation[Store]]
"""A handler's parameter ``store``: control data."""

EventStored = NamedDependency[SkipValidation[Store]]
"""A handler's parameter ``event_store``."""

SpoolDirectory = NamedDependency[SkipValidation[Path]]
"""A handler's parameter ``spool``."""
