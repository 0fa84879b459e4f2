"""The door that tests of the API knock at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekisho.db import Database
from tests.fakes.api import ApiDoor, api_door
from tests.fakes.clock import FakeClock
from tests.fakes.control import NOW_MS


@pytest.fixture
async def door(control: Database, event_store: Database, tmp_path: Path) -> AsyncIterator[ApiDoor]:
    async with api_door(control, event_store, tmp_path / "spool", FakeClock(at_ms=NOW_MS)) as opened:
        yield opened
