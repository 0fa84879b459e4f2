"""The routes in force: the configuration's rows with account and subuser names resolved, followed as either changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

import structlog
from sqlalchemy import Connection

from sekisho.accounts import find_account, find_subuser
from sekisho.changes import Change, ChangeKind
from sekisho.db import Database, DatabaseUnavailable
from sekisho.delivery.routes import Route, Routes, RouteTls, Target
from sekisho.service import config as configuration

RETRY_S: Final = 1.0
_log = structlog.get_logger()


class Routing:
    """Made, used and closed on one event loop."""

    def __init__(
        self,
        rows: Sequence[configuration.Route],
        database: Database,
        *,
        threads: Executor,
        on_change: Callable[[Routes], None],
    ) -> None:
        """``on_change`` gets a table that differs."""
        self._rows = rows
        self._database: Final = database
        self._threads: Final = threads
        self._on_change: Final = on_change
        self._wanted: Final = asyncio.Event()
        self.routes = Routes()

    async def load(self) -> None:
        """Resolve the names; raises DatabaseUnavailable."""
        rows = self._rows
        self.routes = await asyncio.get_running_loop().run_in_executor(self._threads, self._read, rows)

    def use(self, rows: Sequence[configuration.Route]) -> None:
        """The configuration was read again."""
        if rows != self._rows:
            self._rows = rows
            self._wanted.set()

    def apply(self, changes: Sequence[Change]) -> None:
        """Resolve again when a name may mean somebody else now; called by the follower of the change feed."""
        if any(row.account or row.subuser for row in self._rows) and any(
            change.kind in (ChangeKind.ACCOUNT_CHANGED, ChangeKind.RESYNC) for change in changes
        ):
            self._wanted.set()

    async def run(self) -> None:
        """Keep the table new until cancelled; the owner's task group runs this."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.load()
            except DatabaseUnavailable as error:
                _log.warning("routes.not_resolved", error=str(error))
                self._wanted.set()
                await asyncio.sleep(RETRY_S)
            else:
                self._on_change(self.routes)

    def _read(self, rows: Sequence[configuration.Route]) -> Routes:
        with self._database.connect() as tx:
            return Routes([route for row in rows if (route := _resolve(tx, row)) is not None])


def _resolve(tx: Connection, row: configuration.Route) -> Route | None:
    """Give the route of one row; None while it names nobody: it matches no mail then."""
    account = find_account(tx, row.account) if row.account else None
    subuser = find_subuser(tx, row.subuser) if row.subuser else None
    for name, found in ((row.account, account), (row.subuser, subuser)):
        if name and found is None:
            _log.warning("route.names_nobody", domain=row.domain, host=row.host, name=name)
            return None
    target = Target(row.host, row.port, RouteTls(row.tls.value), row.username, row.password, row.verp)
    return Route(row.domain, target, None if account is None else account.id, None if subuser is None else subuser.id)
