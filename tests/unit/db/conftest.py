from __future__ import annotations

import pytest

from sekisho.db import Database
from tests.fakes.databases import NewDatabase
from tests.unit.db.tables import METADATA


@pytest.fixture
def database(new_database: NewDatabase) -> Database:
    """Both engines in turn."""
    made = new_database()
    with made.begin() as tx:
        METADATA.create_all(tx)
    return made
