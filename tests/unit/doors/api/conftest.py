"""The door that tests of the API knock at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekisho.db import Database, History, events
from tests.fakes.api import ApiDoor, api_door
from tests.fakes.clock import FakeClock
from tests.fakes.control import NOW_MS
from tests.fakes.databases import NewDatabase


@pytest.fixture
async def door(control: Database, new_database: NewDatabase, tmp_path: Path) -> AsyncIterator[ApiDoor]:
    store = new_database(History.EVENTS)
    with store.begin() as tx:
        events.create_all(tx)
    async with api_door(control, store, tmp_path / "spool", FakeClock(at_ms=NOW_MS)) as opened:
        yield opened
