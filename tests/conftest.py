"""What all tests share: Hypothesis without a clock, since a busy machine is no bug, and databases of both engines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from sekisho.db import Database, History
from tests.fakes.control import make_tables
from tests.fakes.databases import Engine, NewDatabase
from tests.fakes.postgresql import Postgresql, some_server

settings.register_profile("sekisho", deadline=None, print_blob=True)
settings.load_profile("sekisho")


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """Print what is logged without the pictures of every frame's variables, each of which takes a second to draw."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
            ],
            cache_logger_on_first_use=False,
        )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """The server of this test process, started when the first test asks for it."""
    with some_server() as server:
        yield server


@pytest.fixture(params=Engine)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    found: Engine = request.param
    return found


@pytest.fixture
def new_database(engine: Engine, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes empty databases of one engine; the test runs once with each."""
    with contextlib.ExitStack() as undo:

        def make(history: History = History.CONTROL) -> Database:
            if engine is Engine.SQLITE:
                database = Database(tmp_path / f"{history.value}.db")
            else:
                server: Postgresql = request.getfixturevalue("postgresql")
                database = Database(undo.enter_context(server.database()).of(history))
            undo.callback(database.close)
            return database

        yield make


@pytest.fixture
def control(new_database: NewDatabase) -> Database:
    """Control data, empty, with all tables."""
    return make_tables(new_database())
