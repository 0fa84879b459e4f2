"""The spool's tables, their versions, and how a connection to them is opened.

Numbers carry structure here. A message has a number from one counter, and the number of a delivery is
``message << 20 | recipient index``: the deliveries of a message are a range of row numbers, so neither an index nor a
counter per message is needed to know when the last one is gone. Numbers and outbox sequences are never used twice,
because the counter is a row, not the highest number present.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sekisho.queue.multirow import STATEMENTS

RECIPIENT_BITS = 20
"""A message has at most 2^20 recipients, a spool 2^43 messages in its life."""

APPLICATION_ID = 0x53454B53
"""``SEKS``: the file is a spool of ours and no other database."""

_BUSY_S = 5.0
"""How long SQLite itself waits for a program that does not take part in our locks (a ``sqlite3`` shell)."""

_VERSION_1 = (
    """
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        spool BLOB NOT NULL,            -- uuid of this spool: outbox sequences count within it
        node INTEGER NOT NULL,          -- 16 bits in every message id made here
        created_ms INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE counter (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        next_message INTEGER NOT NULL,
        next_event INTEGER NOT NULL
    )
    """,
    # Small columns first: a row's large blobs then lie on overflow pages that reading the others does not touch.
    """
    CREATE TABLE message (
        row INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        body_file TEXT,                 -- name under bodies/ of a body too large for the row
        body_size INTEGER,              -- bytes, of such a body
        envelope BLOB NOT NULL,         -- msgpack, records.py
        header BLOB NOT NULL,
        body BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX message_id ON message (id)",
    "CREATE INDEX message_body_file ON message (body_file) WHERE body_file IS NOT NULL",
    # account, sender, key and accepted_ms repeat the message's: what is held or selected is found without reading it.
    """
    CREATE TABLE delivery (
        row INTEGER PRIMARY KEY,        -- message << 20 | recipient index
        owner INTEGER NOT NULL,         -- slot of the worker it belongs to; 0 = appended by a process without one
        held INTEGER NOT NULL,          -- 1 = an operator holds it, 2 = set aside after faults of our own
        destination TEXT NOT NULL,
        due_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        account INTEGER NOT NULL,
        sender INTEGER NOT NULL,
        key TEXT NOT NULL,
        accepted_ms INTEGER NOT NULL,
        address TEXT NOT NULL,
        personal_to TEXT NOT NULL,
        reply TEXT,                     -- of the last attempt
        status TEXT,
        tried_ms INTEGER
    )
    """,
    "CREATE INDEX delivery_due ON delivery (owner, held, destination, due_ms)",
    "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, event BLOB NOT NULL)",
    "CREATE TABLE daily (key TEXT, day INTEGER, count INTEGER NOT NULL, PRIMARY KEY (key, day)) WITHOUT ROWID",
    """
    CREATE TABLE rate (
        key TEXT PRIMARY KEY,
        log BLOB NOT NULL,              -- caps.py
        updated_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    # What operators did, for workers that hold the same deliveries in memory. AUTOINCREMENT: positions never repeat.
    """
    CREATE TABLE change (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        rows BLOB NOT NULL,             -- msgpack: deliveries
        destinations BLOB NOT NULL      -- msgpack: where they go
    )
    """,
)

_VERSION_2 = (
    "ALTER TABLE delivery ADD COLUMN size INTEGER NOT NULL DEFAULT 0",  # bytes to be sent: its message's
    "ALTER TABLE delivery ADD COLUMN faults INTEGER NOT NULL DEFAULT 0",  # attempts that our own fault ended, in a row
    f"""
    UPDATE delivery SET size = coalesce((
        SELECT length(header) + 2 + coalesce(body_size, length(body))
        FROM message WHERE message.row = delivery.row >> {RECIPIENT_BITS}
    ), 0)
    """,
    # The columns behind due_ms are there to be read with it: what is due and what is queued is known without the rows.
    "DROP INDEX delivery_due",
    """
    CREATE INDEX delivery_due ON delivery
        (owner, held, destination, due_ms, attempts, accepted_ms, tried_ms, size)
    """,
    # Next hops that are out of reach, written once per change: for people, and for the start after this one.
    """
    CREATE TABLE shut (
        hop TEXT PRIMARY KEY,           -- a name for people that is the same at every start
        until_ms INTEGER NOT NULL,      -- not asked before
        reply TEXT NOT NULL,            -- why
        status TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE shut_destination (
        destination TEXT NOT NULL,      -- mail for it waits for the hop
        hop TEXT NOT NULL,
        PRIMARY KEY (destination, hop)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX shut_hop ON shut_destination (hop)",
    # timeline.py: due_ms, accepted_ms of deliveries, and until_ms are on the spool's own time.
    """
    CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        offset_ms INTEGER NOT NULL,     -- by how much it is ahead of the wall clock
        seen_ms INTEGER NOT NULL        -- what it was when something was written last; 0 = not known
    )
    """,
    "INSERT INTO clock VALUES (1, 0, 0)",
)

_VERSION_3 = (
    # Behind the body's pages, which are read with it. NULL: of a message from before, which nothing is known about.
    "ALTER TABLE message ADD COLUMN checksum INTEGER",  # of what is in the row (records.py)
    "ALTER TABLE message ADD COLUMN body_checksum INTEGER",  # of the body's file
)

_MADE = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"

_STEPS = (_VERSION_1, _VERSION_2, _VERSION_3)
"""One entry per version: the statements that lead to it from the one before."""

VERSION = len(_STEPS)


class SpoolTooNewError(Exception):
    """The spool was written by a later release, which this one must not touch."""

    def __init__(self, found: int) -> None:
        super().__init__(f"the spool has schema {found}, this release knows {VERSION}: it was used by a newer release")


class NotASpoolError(Exception):
    """A healthy SQLite database, but not ours, or one without its identity row."""


@dataclass(frozen=True, slots=True)
class Meta:
    """Who this spool is."""

    spool: uuid.UUID
    node: int


def connect(path: Path, *, read_only: bool = False, wal_pages: int = 0, damaged: bool = False) -> sqlite3.Connection:
    """Open an existing spool file, in explicit transactions, every commit synced.

    ``wal_pages`` is SQLite's own automatic checkpoint; 0 for those who checkpoint themselves, where an error is seen
    (SQLite keeps quiet about a failed automatic one). ``damaged`` opens it also when its own description of its tables
    cannot be understood. The connection may be handed to another thread, never shared.
    """
    mode = "rw" if not read_only else "ro"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )
    try:
        if damaged:
            connection.execute("PRAGMA writable_schema=ON")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={wal_pages}")
        # Debian builds SQLite with SECURE_DELETE, which writes zeros over every deleted message: twice the writing.
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("PRAGMA cache_size=-16000")
        connection.execute("PRAGMA temp_store=MEMORY")
        # A log that a burst has made long is cut back when it starts over.
        connection.execute("PRAGMA journal_size_limit=67108864")
    except BaseException:
        connection.close()
        raise
    return connection


def create(path: Path, now_ms: int, meta: Meta | None = None) -> Meta:
    """Make a new spool file that must not exist yet; ``meta`` is given when it replaces a damaged one."""
    meta = meta or Meta(uuid.uuid4(), secrets.randbits(16))
    path.touch(mode=0o600, exist_ok=False)
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        _upgrade_from(connection, 0)
        connection.execute("INSERT INTO meta VALUES (1, ?, ?, ?)", (meta.spool.bytes, meta.node, now_ms))
        connection.execute("INSERT INTO counter VALUES (1, 1, 1)")
        connection.execute("COMMIT")
    finally:
        connection.close()
    return meta


def _upgrade_from(connection: sqlite3.Connection, version: int) -> None:
    for step in _STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={VERSION}")


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring an existing spool to this release's schema in one transaction.

    Raises:
        SpoolTooNewError: a later release has upgraded it.
        NotASpoolError: it is somebody else's database.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        message = "not a spool: another program's database"
        raise NotASpoolError(message)
    version = _version(connection)
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _upgrade_from(connection, version)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SpoolTooNewError(version)
    return int(version)


def altered(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Find what is missing or not as it was made: how it is made, by type and name. What others added is no matter.

    Read as it is stored: SQLite takes a column of another name, or of one that is not text, as it finds it.
    """
    connection.text_factory = bytes
    try:
        found = {(kind, name): _words(sql) for kind, name, sql in connection.execute(_MADE)}
    finally:
        connection.text_factory = str
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        for step in _STEPS[: _version(connection)]:
            for statement in step:
                fresh.execute(statement)
        wanted = fresh.execute(_MADE).fetchall()
    return {
        (kind, name): sql
        for kind, name, sql in wanted
        if found.get((kind.encode(), name.encode())) != _words(sql.encode())
    }


def _words(sql: bytes) -> list[bytes]:
    """What a definition says: SQLite keeps comments, and those are worded anew from release to release."""
    return re.sub(rb"--[^\n]*", b"", sql).split()


def mend(connection: sqlite3.Connection) -> None:
    """Read the tables as they were made, whatever a damaged file says that they are.

    In a transaction that then stays open and must not be committed: the file is evidence.
    """
    if not (wanted := altered(connection)):
        return
    connection.execute("BEGIN")
    for (kind, name), sql in wanted.items():
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE type = ? AND name = ?", (sql, kind, name))
    connection.execute("PRAGMA writable_schema=RESET")


def read_meta(connection: sqlite3.Connection) -> Meta:
    found = connection.execute("SELECT spool, node FROM meta WHERE id = 1").fetchone()
    if found is None or connection.execute("SELECT 1 FROM counter WHERE id = 1").fetchone() is None:
        message = "the spool has lost its identity"
        raise NotASpoolError(message)
    return Meta(uuid.UUID(bytes=found[0]), found[1])
