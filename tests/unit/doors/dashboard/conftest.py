"""The dashboard that tests of pages open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sekisho.accounts import Account
from sekisho.db import Database
from sekisho.users import User
from tests.fakes.clock import FakeClock
from tests.fakes.control import NOW_MS, an_account
from tests.fakes.dashboard import Browser, Dashboard, dashboard_on


@pytest.fixture
async def dashboard(control: Database, event_store: Database, tmp_path: Path) -> AsyncIterator[Dashboard]:
    async with dashboard_on(control, event_store, tmp_path / "spool", FakeClock(at_ms=NOW_MS)) as opened:
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
