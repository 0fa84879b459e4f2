from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext

import sekisho.accounts.model
import sekisho.apikeys.tables
import sekisho.apikeys.used
import sekisho.audit
import sekisho.changes
import sekisho.domains.tables
import sekisho.events.tables
import sekisho.factors.tables
import sekisho.ipaccess.tables
import sekisho.letters.tables
import sekisho.links.tables
import sekisho.notices.log
import sekisho.oidc.tables
import sekisho.sessions.tables
import sekisho.signup.tables
import sekisho.teammates.tables
import sekisho.users.tables
from sekisho import db, migrations
from sekisho.audit import By
from sekisho.audit.chain import verify
from sekisho.audit.reading import links
from sekisho.db import Database, History
from sekisho.migrations import run
from tests.fakes.databases import NewDatabase

TABLES = (
    sekisho.accounts.model,
    sekisho.apikeys.tables,
    sekisho.apikeys.used,
    sekisho.audit,
    sekisho.changes,
    sekisho.domains.tables,
    sekisho.events.tables,
    sekisho.factors.tables,
    sekisho.ipaccess.tables,
    sekisho.letters.tables,
    sekisho.links.tables,
    sekisho.notices.log,
    sekisho.oidc.tables,
    sekisho.sessions.tables,
    sekisho.signup.tables,
    sekisho.teammates.tables,
    sekisho.users.tables,
)
"""Importing a module that owns a table puts the table into the metadata compared here."""


@pytest.fixture(params=list(History))
def history(request: pytest.FixtureRequest) -> History:
    found: History = request.param
    return found


@pytest.fixture
def migrated(new_database: NewDatabase, history: History) -> Database:
    database = new_database(history)
    db.upgrade(database, history)
    return database


def test_the_migrated_schema_is_the_one_that_the_code_describes(migrated: Database, history: History) -> None:
    with migrated.connect() as connection:
        options = {"target_metadata": history.metadata, "version_table": history.version_table, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, history.metadata)
        missing = produce_migrations(context, history.metadata).upgrade_ops
        assert missing is not None
        assert not differences, f"a migration is missing:\n{render_python_code(missing)}"


_SQLITE = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_POSTGRESQL = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT table_name || '.' || column_name, concat_ws(' ', data_type, character_maximum_length, is_nullable,
    column_default) FROM information_schema.columns WHERE table_schema = 'public'
"""


def statements(database: Database, but: str) -> dict[str, list[str]]:
    """What the engine keeps of each table and index: columns and constraints, in no order."""
    with database.connect() as connection:
        rows = connection.exec_driver_sql(_POSTGRESQL if database.is_shared else _SQLITE).all()
    # SQLite keeps the text of what made the table, and writes an added column behind the last one.
    split = {name: re.split(r"\s*[,\n]\s*", sql) for name, sql in rows if not (but and but in name)}
    found = {name: sorted(filter(None, parts)) for name, parts in split.items()}
    assert found
    return found


def test_migrating_and_creating_come_to_the_same_statements(
    migrated: Database, history: History, new_database: NewDatabase, tmp_path: Path
) -> None:
    # The comparison above overlooks what it cannot reflect: conditions of indexes, AUTOINCREMENT, deletion rules.
    created = new_database() if migrated.is_shared else Database(tmp_path / "created.db")
    with created.begin() as tx:
        history.metadata.create_all(tx)
    assert statements(migrated, but=history.version_table) == statements(created, but="")
    created.close()


def test_the_newest_revision_is_the_one_that_workers_check_for(history: History) -> None:
    assert run.scripts(history.value).get_heads() == [migrations.HEADS[history.value]]


def test_revisions_are_numbered_by_release_and_step_and_only_grow(history: History) -> None:
    found = [script.revision for script in run.scripts(history.value).walk_revisions()][::-1]
    assert all(re.fullmatch(r"[1-9]\d*\.\d+", revision) for revision in found)
    numbers = [tuple(map(int, revision.split("."))) for revision in found]
    assert numbers == sorted(set(numbers))


def test_a_crash_in_a_migration_leaves_the_old_schema(
    new_database: NewDatabase, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_database(history)
    real = run.upgrade

    def crash(tx: sa.Connection, name: str, metadata: sa.MetaData, version_table: str) -> None:
        real(tx, name, metadata, version_table)
        raise ZeroDivisionError

    monkeypatch.setattr(run, "upgrade", crash)
    with pytest.raises(ZeroDivisionError):
        db.upgrade(database, history)
    with database.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    monkeypatch.undo()
    assert db.upgrade(database, history)


def test_an_audit_log_of_the_first_schema_becomes_chains(new_database: NewDatabase) -> None:
    database = new_database(History.CONTROL)
    rows: list[dict[str, object]] = [
        {
            "action": "account.create",
            "account_id": 3,
            "subject": "me@example.com",
            "details": '{"owner":"o@example.com"}',
        },
        {"action": "key.create", "account_id": 3, "subject": "id", "details": '{"name":"n","policy":"{}"}'},
        {"action": "queue.drop", "account_id": None, "subject": "", "details": '{"all":"yes"}'},
    ]
    old = sa.table("audit", *map(sa.column, ("at_ms", "actor", "action", "account_id", "subject", "details")))
    with database.begin() as tx:
        run.upgrade(tx, "control", db.control, History.CONTROL.version_table, "1.0")
        tx.execute(sa.insert(old), [{"at_ms": 5, "actor": "operator:root", **row} for row in rows])
    assert db.upgrade(database, History.CONTROL)
    with database.begin() as tx:
        sekisho.audit.record(tx, by=By("me", 6), action="key.revoke", account_id=3, subject="id")
    with database.connect() as tx:
        heads = sekisho.audit.heads(tx)
        assert [(head.chain, head.seq) for head in heads] == [(0, 1), (3, 3)]
        for head in heads:
            assert list(verify(head.chain, links(tx, head.chain), [head])) == []
        newest, made, first = sekisho.audit.entries(tx, 3, limit=9)
        assert (newest.action, made.actor, made.details) == (
            "key.revoke",
            "operator:root",
            {"name": "n", "policy": "{}"},
        )
        assert (first.subject, first.details) == ("me@example.com", {"owner": "o@example.com"})
        assert sa.inspect(tx).has_table("audit") is False
