"""What all tests share: Hypothesis without a clock, since a busy machine is no bug, and databases of both engines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import settings

import sekisho.events.tables  # noqa: F401  # all tables are known
import tests.fakes.control  # noqa: F401  # the same
from sekisho.db import Database, History
from tests.fakes.databases import Engine, FurnishedDatabase, NewDatabase, copy_of_tables
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
def furnished(engine: Engine, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FurnishedDatabase]:
    """Gives databases with empty tables, as ``new_database`` and ``create_all`` would, in a fraction of the time."""
    with contextlib.ExitStack() as undo:

        def give(history: History = History.CONTROL, metadata: sa.MetaData | None = None) -> Database:
            tables = history.metadata if metadata is None else metadata
            if engine is Engine.SQLITE:
                database = Database(copy_of_tables(tables, tmp_path / f"{history.value}.db"))
            else:
                server: Postgresql = request.getfixturevalue("postgresql")
                database = Database(undo.enter_context(server.tables(tables)).of(history))
            undo.callback(database.close)
            return database

        yield give


@pytest.fixture
def control(furnished: FurnishedDatabase) -> Database:
    """Control data, empty, with all tables."""
    return furnished()


@pytest.fixture
def event_store(furnished: FurnishedDatabase) -> Database:
    """Events, none yet, with all tables."""
    return furnished(History.EVENTS)
