"""Run a history's migrations inside a transaction that is already open; the only module that imports Alembic."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.script.revision import Revision

_HERE: Final = Path(__file__).parent


def scripts(history: str) -> ScriptDirectory:
    """Find the history's revisions, inside the installed package; there is no alembic.ini and no env.py."""
    return ScriptDirectory(str(_HERE / history))


def upgrade(tx: sa.Connection, history: str, metadata: sa.MetaData, version_table: str, to: str = "head") -> None:
    """Apply what is missing up to a revision; commits nothing itself."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it greets at info level
    directory = scripts(history)

    def steps(current: str | tuple[str, ...], _context: MigrationContext) -> list[RevisionStep]:
        return directory._upgrade_revs(to, current)  # type: ignore[arg-type]  # noqa: SLF001  # what its own command does

    with EnvironmentContext(Config(), directory, fn=steps) as environment:
        environment.configure(connection=tx, target_metadata=metadata, version_table=version_table)
        environment.run_migrations()


__all__ = ["Revision", "scripts", "upgrade"]
