"""The database under control data and events: tables, transactions, schema version.

Tables are defined beside their owners, on ``control`` or ``events``; this package only knows how to reach them. A
Database belongs to the process that made it: open it after the fork, never hand one across.
"""

from sekisho.db.engine import Database
from sekisho.db.faults import DatabaseUnavailable
from sekisho.db.history import History
from sekisho.db.schema import SchemaTooNew, SchemaTooOld, check, ready, upgrade
from sekisho.db.tables import ROW_ID, control, events
from sekisho.db.url import Postgres, parse_postgres
from sekisho.db.watch import Watch

__all__ = [
    "ROW_ID",
    "Database",
    "DatabaseUnavailable",
    "History",
    "Postgres",
    "SchemaTooNew",
    "SchemaTooOld",
    "Watch",
    "check",
    "control",
    "events",
    "parse_postgres",
    "ready",
    "upgrade",
]
