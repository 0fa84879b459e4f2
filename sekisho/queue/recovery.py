"""What happens before a spool is used: made, upgraded, recovered after a failure, swept.

Everybody who uses a spool *enters* it and holds its use lock shared until done. Whoever can have the lock alone, which
is the first to come, prepares the spool before stepping down to a share.

After a failed sync, or when the file is damaged, all that can be read is copied row by row into a fresh file
(salvage.py). The order of the renames makes the exchange safe at any moment::

    spool.db.new      being copied; a start removes it
    spool.db.ready    complete and synced: from here on it will become spool.db
    spool.db          moved aside to spool.db.suspect-<time>, then spool.db.ready takes its name
    spool.suspect     removed last
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from sekisho.queue import bodies, salvage, schema, timeline, walcheck
from sekisho.queue.faults import Fault, fault_of, mark_suspect
from sekisho.queue.layout import Layout, sync_directory, sync_file
from sekisho.queue.locks import FileLock, LockTimeoutError, wait_for
from sekisho.queue.salvage import Salvaged
from sekisho.queue.schema import NotASpoolError

_log = structlog.get_logger(__name__)

_ENTER_WAIT_S: Final = 30.0
_COMPACT_FREE_BYTES: Final = 64 << 20
_COMPACT_USED_BYTES: Final = 64 << 20
"""Compacting copies what is used, in memory and through the log: only when that is little."""

_SIDE_FILES: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Recovered:
    """A damaged spool was replaced: what was found in it, and where it lies now."""

    why: str
    aside: Path
    salvaged: Salvaged


@dataclass(frozen=True, slots=True)
class Report:
    """What preparing the spool came to. All empty when another process had prepared it."""

    created: bool = False
    recovered: Recovered | None = None
    swept_incoming: int = 0
    swept_bodies: int = 0
    missing_bodies: int = 0
    """Messages whose body file is gone: their deliveries cannot be carried out."""


def enter(layout: Layout, now_ms: int, wait_s: float = _ENTER_WAIT_S) -> tuple[FileLock, Report]:
    """Get the right to use the spool, preparing it first when nobody else does; hold the lock while using it.

    Raises:
        LockTimeoutError: the spool must be recovered, but other processes do not let go of it.
        SpoolTooNewError: a later release used this spool.
    """
    layout.create()
    lock = FileLock(layout.use_lock)
    report = Report()

    def attempt() -> bool:
        nonlocal report
        if lock.try_exclusive():
            report = _prepare(layout, now_ms)
            return lock.try_shared()
        # Others have it open. If it is suspect they end within a moment, and this one must be alone with it.
        return lock.try_shared() and _usable(layout, lock)

    try:
        wait_for(attempt, lock, wait_s)
    except BaseException:
        lock.close()
        raise
    return lock, report


def _usable(layout: Layout, lock: FileLock) -> bool:
    if layout.database.exists() and not layout.suspect.exists():
        return True
    lock.release()
    return False


def _prepare(layout: Layout, now_ms: int) -> Report:
    """Make the spool fit for use. Nobody else has it open."""
    _finish_exchange(layout, now_ms)
    created = False
    recovered = None
    # A write-ahead log without its database is not nothing: it may hold accepted mail.
    if not layout.database.exists() and not _side(layout.database, "-wal").exists():
        _create(layout, now_ms)
        created = True
    # First: whoever opens a damaged log and closes it again has thrown away what lies behind the damage.
    why = walcheck.fault(layout.database)
    if why is not None:
        _keep_log(layout, why, now_ms)
    else:
        why = _damage(layout)
    if why is not None:
        recovered = _recover(layout, why, now_ms)
        _log.error(
            "spool.recovered",
            why=why,
            aside=str(recovered.aside),
            messages=recovered.salvaged.messages,
            deliveries=recovered.salvaged.deliveries,
            events=recovered.salvaged.events,
            lost_deliveries=recovered.salvaged.lost_deliveries,
            damaged_places=recovered.salvaged.damaged_places,
        )
    _compact(layout)
    with closing(schema.connect(layout.database)) as connection:
        timeline.forget_if_empty(connection)
    return _sweep(layout, now_ms, created=created, recovered=recovered)


def _keep_log(layout: Layout, why: str, now_ms: int) -> None:
    """Copy the damaged log before it is used: what SQLite does not read of it may be accepted mail."""
    aside = layout.root / f"spool.db-wal.suspect-{now_ms}"
    log = _side(layout.database, "-wal")
    if log.exists() and log.stat().st_size:
        shutil.copyfile(log, aside)
        aside.chmod(0o600)
        sync_file(aside)
        sync_directory(layout.root)
    # The mark stays until the spool was replaced: a crash on the way must not forget what was found.
    mark_suspect(layout, why)


def _create(layout: Layout, now_ms: int) -> None:
    fresh = _fresh(layout)
    schema.create(fresh, now_ms)
    _exchange(layout, now_ms)


def _damage(layout: Layout) -> str | None:
    """Find out whether the spool can be used as it is; if not, why. Upgrades it on the way."""
    if layout.suspect.exists():
        lines = layout.suspect.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[0] if lines else "storage failed"
    if not layout.database.exists() or layout.database.stat().st_size == 0:
        # Never ours: a new spool gets its name when it is complete.
        return "the file is missing or empty"
    try:
        with closing(schema.connect(layout.database)) as connection:
            schema.upgrade(connection)
            schema.read_meta(connection)
            if changed := schema.altered(connection):
                return f"the tables are not as they were made: {', '.join(name for _kind, name in sorted(changed))}"
            for table in ("message", "delivery", "outbox", "daily", "rate", "change", "shut", "shut_destination"):
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
    except NotASpoolError as error:
        return str(error)
    except UnicodeDecodeError:
        return "the names of its tables or columns are not text"
    except sqlite3.Error as error:
        # A full disk or a busy file is no damage, and a missing table is.
        if fault_of(error) in {Fault.SUSPECT, Fault.OURS}:
            return f"{type(error).__name__}: {error}"
        raise
    return None


def _recover(layout: Layout, why: str, now_ms: int) -> Recovered:
    fresh = _fresh(layout)
    salvaged = salvage.copy(layout.database, fresh, now_ms)
    aside = _exchange(layout, now_ms)
    layout.suspect.unlink(missing_ok=True)
    sync_directory(layout.root)
    return Recovered(why, aside, salvaged)


def _fresh(layout: Layout) -> Path:
    """Name the file that becomes the new spool, and make sure that it does not exist."""
    fresh = layout.root / "spool.db.new"
    for path in (fresh, *(_side(fresh, suffix) for suffix in _SIDE_FILES)):
        path.unlink(missing_ok=True)
    return fresh


def _exchange(layout: Layout, now_ms: int) -> Path:
    """Let the finished ``spool.db.new`` take the spool's place; where the old one went."""
    fresh = layout.root / "spool.db.new"
    sync_file(fresh)
    fresh.rename(_ready(layout))
    sync_directory(layout.root)
    return _finish_exchange(layout, now_ms)


def _finish_exchange(layout: Layout, now_ms: int) -> Path:
    """Carry an exchange to its end; also one that a crash interrupted."""
    aside = layout.root / f"spool.db.suspect-{now_ms}"
    ready = _ready(layout)
    if not ready.exists():
        return aside
    # The log first: without its database nobody takes it for a spool's, the other way round it would be lost mail.
    for suffix in (*_SIDE_FILES, ""):
        old = _side(layout.database, suffix)
        if old.exists():
            old.rename(_side(aside, suffix))
    sync_directory(layout.root)
    ready.rename(layout.database)
    layout.suspect.unlink(missing_ok=True)
    sync_directory(layout.root)
    return aside


def _compact(layout: Layout) -> None:
    """Give back the room of a long queue that has gone: a spool uses its room again but never shrinks by itself."""
    with closing(schema.connect(layout.database)) as connection:
        ((pages,), (free,), (size,)) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
        if free * size < _COMPACT_FREE_BYTES or (pages - free) * size > _COMPACT_USED_BYTES:
            return
        try:
            connection.execute("VACUUM")
        except sqlite3.Error as error:
            # Done or not done, nothing is lost; what is really wrong shows in the next transaction.
            _log.warning("spool.compact_failed", error=str(error))


def _sweep(layout: Layout, now_ms: int, *, created: bool, recovered: Recovered | None) -> Report:
    with closing(schema.connect(layout.database)) as connection:
        named = frozenset(
            name for (name,) in connection.execute("SELECT body_file FROM message WHERE body_file IS NOT NULL")
        )
    # A fresh database names nothing, or only what could be read: a body without a row may be mail that was accepted.
    aside = layout.root / f"bodies.suspect-{now_ms}" if created or recovered is not None else None
    orphans, unnamed = bodies.sweep(layout, named, aside=aside)
    if unnamed and aside is not None:
        _log.error("spool.bodies_set_aside", bodies=unnamed, aside=str(aside))
    missing = sum(1 for name in named if not (layout.bodies / name).exists())
    if missing:
        _log.error("spool.bodies_missing", messages=missing)
    return Report(created, recovered, orphans, unnamed, missing)


def _ready(layout: Layout) -> Path:
    return layout.root / "spool.db.ready"


def _side(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


__all__ = ["LockTimeoutError", "Recovered", "Report", "enter"]
