"""Where control data and events are kept: files of the data directory, or a database server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sekisho.db import Database, History, Postgres
from sekisho.service.config import Config
from sekisho.service.datadir import DataDir


@dataclass(frozen=True, slots=True)
class Stores:
    """Two places; ``stores`` says which."""

    control: Path | Postgres
    events: Path | Postgres

    def of(self, history: History) -> Path | Postgres:
        return self.control if history is History.CONTROL else self.events

    def open_control(self) -> Database:
        """Make the Database of accounts, keys and domains; the caller closes it. After the fork, like the other."""
        return Database(self.control)

    def open_events(self) -> Database:
        return Database(self.events)


def stores(config: Config, directory: DataDir) -> Stores:
    """Say where, as configured."""
    postgres = config.storage.postgres
    if postgres is None:
        return Stores(directory.control, directory.events)
    return Stores(postgres.of(History.CONTROL), postgres.of(History.EVENTS))
