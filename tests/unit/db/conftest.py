from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.db import Database
from tests.unit.db.tables import METADATA


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "test.db")
    with made.begin() as tx:
        METADATA.create_all(tx)
    yield made
    made.close()
