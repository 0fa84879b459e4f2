"""The dashboard that tests of pages open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sekisho.accounts import Account
from sekisho.db import Database, History, events
from sekisho.users import User
from tests.fakes.clock import FakeClock
from tests.fakes.control import NOW_MS, an_account
from tests.fakes.dashboard import Browser, Dashboard, dashboard_on
from tests.fakes.databases import NewDatabase


@pytest.fixture
async def dashboard(control: Database, new_database: NewDatabase, tmp_path: Path) -> AsyncIterator[Dashboard]:
    store = new_database(History.EVENTS)
    with store.begin() as tx:
        events.create_all(tx)
    async with dashboard_on(control, store, tmp_path / "spool", FakeClock(at_ms=NOW_MS)) as opened:
        yield opened


@pytest.fixture
def acme(dashboard: Dashboard) -> Account:
    with dashboard.control.begin() as tx:
        return an_account(tx)


@pytest.fixture
def ann(dashboard: Dashboard, acme: Account) -> User:
    """Acme's owner, with an authenticator app."""
    return dashboard.a_person(acme)


@pytest.fixture
def browser(dashboard: Dashboard) -> Browser:
    """A fresh browser."""
    return Browser(dashboard)


@pytest.fixture
def another_browser(dashboard: Dashboard) -> Callable[[], Browser]:
    return lambda: Browser(dashboard)
