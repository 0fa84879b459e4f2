"""The two histories of tables: control data and events."""

from __future__ import annotations

import enum

import sqlalchemy as sa

from sekisho.db.tables import control, events


class History(enum.StrEnum):
    """The two sets of tables that migrate on their own."""

    CONTROL = "control"
    EVENTS = "events"

    @property
    def metadata(self) -> sa.MetaData:
        return control if self is History.CONTROL else events

    @property
    def version_table(self) -> str:
        """One table each: on PostgreSQL both live in one database."""
        return f"schema_{self.value}"
