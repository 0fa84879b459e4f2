"""The schema's version: bring it up to this release's, or say why this release cannot work with it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sekisho import migrations
from sekisho.db.engine import Database
from sekisho.db.history import History


class SchemaTooNew(Exception):
    """A later release has migrated this database beyond what this one can work with."""

    def __init__(self, history: History, found: str) -> None:
        super().__init__(
            f"the {history.value} database has schema {found}, newer than this release can use "
            f"(it knows {migrations.HEADS[history.value]}): run the newer release or restore a backup"
        )


class SchemaTooOld(Exception):
    """The database was never migrated to this release's schema."""

    def __init__(self, history: History, found: str | None) -> None:
        super().__init__(
            f"the {history.value} database has schema {found or 'none'}, this release needs "
            f"{migrations.HEADS[history.value]}: run `sekisho db upgrade`"
        )


def upgrade(database: Database, history: History) -> bool:
    """Bring the schema to this release's, or raise SchemaTooNew; whether there was anything to do.

    All of it is one transaction: two processes, or two machines, that start at once migrate once, and a crash leaves
    the old schema.
    """
    head = migrations.HEADS[history.value]
    with database.connect() as connection:
        if not _is_behind(history, _schema_of(connection, history), head):
            return False
    with database.begin(unhurried=True) as tx:
        if not _is_behind(history, _schema_of(tx, history), head):
            return False
        # Imported only here: Alembic costs tens of milliseconds and several megabytes, and workers never migrate.
        from sekisho.migrations import run  # noqa: PLC0415

        run.upgrade(tx, history.value, history.metadata, history.version_table)
    return True


def ready(database: Database, history: History) -> bool:
    """Make sure that this release can work with the schema; whether it was upgraded.

    A file is brought up to date. A server's schema may be in use by other machines: an operator says when it changes,
    with ``sekisho db upgrade``, and until then it is SchemaTooOld.
    """
    if not database.is_shared:
        return upgrade(database, history)
    check(database, history)
    return False


def check(database: Database, history: History) -> None:
    """Raise SchemaTooNew or SchemaTooOld unless this release can work with the schema as it is."""
    with database.connect() as connection:
        found = _schema_of(connection, history)
    if _is_behind(history, found, migrations.HEADS[history.value]):
        raise SchemaTooOld(history, found)


def _is_behind(history: History, found: str | None, head: str) -> bool:
    if found is None:
        return True
    try:
        there, here = _number(found), _number(head)
    except ValueError:
        raise SchemaTooNew(history, found) from None
    # Release N runs on the schemas of N and N+1, so that a fleet can be upgraded node by node.
    if there[0] > here[0] + 1:
        raise SchemaTooNew(history, found)
    return there < here


def _number(revision: str) -> tuple[int, int]:
    release, _, step = revision.partition(".")
    return int(release), int(step)


def _schema_of(connection: Connection, history: History) -> str | None:
    if not sa.inspect(connection).has_table(history.version_table):
        return None
    version = sa.table(history.version_table, sa.column("version_num", sa.String))
    found: str | None = connection.execute(sa.select(version.c.version_num)).scalar()
    return found
