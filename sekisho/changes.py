"""The change feed: what writers of control data leave for caches, and the thread that reads it.

Whoever changes a fact that caches rely on calls ``record`` in the same transaction. Every process runs one Follower,
which looks when the database's Watch says so (a file's version each 200 ms; a server's notification, or each 500 ms)
and hands new rows to the event loop. Positions are in commit order, because a database has one turn for writers, so a
position decides, and nothing is ever missed or seen twice.
"""

from __future__ import annotations

import asyncio
import enum
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
import structlog

from sekisho import db
from sekisho.db import Database, DatabaseUnavailable, Watch

_log = structlog.get_logger(__name__)

_RETRY_S: Final = 0.5
"""Pause before a database that could not be watched is tried again."""

BATCH_MAX: Final = 1000
"""More changes than this at once are cheaper as one RESYNC. Far below KEEP_ROWS, which is what makes pruning safe."""

KEEP_ROWS: Final = 100_000
KEEP_MS: Final = 24 * 3600 * 1000
_PRUNE_EVERY: Final = 1000

feed = sa.Table(
    "feed",
    db.control,
    sa.Column("position", db.ROW_ID, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("account_id", sa.BigInteger, nullable=True),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,  # a pruned or emptied feed never gives a position out again
)


class ChangeKind(enum.StrEnum):
    """What changed; ``subject`` of the row names which one."""

    ACCESS_CHANGED = "access.changed"  # the list of addresses that an account or subuser is used from; subject: its id
    ACCOUNT_CHANGED = "account.changed"  # an account or subuser was made, disabled, enabled or deleted; subject: its id
    DOMAIN_CHANGED = "domain.changed"  # added, verified, assigned or removed; subject: the domain
    KEY_CHANGED = "key.changed"  # its policy or scopes; subject: the key id
    KEY_CREATED = "key.created"  # a cached "unknown" must go; subject: the key id
    KEY_REVOKED = "key.revoked"  # subject: the key id
    RESYNC = "feed.resync"  # never stored: the reader lost its place, every cache must be emptied


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the feed. ``account_id`` is None where no single account is concerned."""

    position: int
    kind: ChangeKind
    account_id: int | None
    subject: str


def record(tx: sa.Connection, kind: ChangeKind, account_id: int | None, subject: str, *, at_ms: int) -> None:
    """Tell every process, as soon as ``tx`` commits."""
    if kind is ChangeKind.RESYNC:
        message = "a resync is concluded by a reader, not written"
        raise ValueError(message)
    added = tx.execute(sa.insert(feed).values(kind=kind.value, account_id=account_id, subject=subject, at_ms=at_ms))
    for position in added.inserted_primary_key or ():
        if position % _PRUNE_EVERY == 0:
            _prune(tx, position, at_ms)


def _prune(tx: sa.Connection, newest: int, now_ms: int) -> None:
    tx.execute(sa.delete(feed).where(feed.c.position <= newest - KEEP_ROWS, feed.c.at_ms < now_ms - KEEP_MS))


def newest_position(connection: sa.Connection) -> int:
    """Say which change is the last that this snapshot of the database holds."""
    return connection.execute(sa.select(sa.func.max(feed.c.position))).scalar() or 0


def read(connection: sa.Connection, after: int | None) -> Sequence[Change]:
    """Read what came after ``after``, or one RESYNC at the newest position when that place is lost or too far back."""

    def lost() -> Sequence[Change]:
        return (Change(newest_position(connection), ChangeKind.RESYNC, None, ""),)

    if after is None:
        return lost()
    # From the reader's own row on: its absence says that the feed was pruned past it, or replaced by an older one.
    rows = connection.execute(
        sa.select(feed.c.position, feed.c.kind, feed.c.account_id, feed.c.subject)
        .where(feed.c.position >= after)
        .order_by(feed.c.position)
        .limit(BATCH_MAX + 2)
    ).all()
    if after:
        if not rows or rows[0].position != after:
            return lost()
        rows = rows[1:]
    if len(rows) > BATCH_MAX:
        return lost()
    try:
        return [Change(row.position, ChangeKind(row.kind), row.account_id, row.subject) for row in rows]
    except ValueError:
        return lost()  # a newer release wrote a kind that this one does not know: anything may have changed


class Follower:
    """Follows the feed in a thread and applies it on the event loop that it was made on.

    The first thing ever applied is a RESYNC: caches filled before it count for nothing. ``age_s`` is the age of the
    newest state that this process has *applied*; it grows while the database cannot be read, while the loop is
    stuck, and while ``on_changes`` raises. Who relies on caches asks it and refuses beyond its own bound.
    """

    def __init__(
        self,
        database: Database,
        on_changes: Callable[[Sequence[Change]], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        poll_s: float | None = None,
    ) -> None:
        """``poll_s`` is how often it looks at least; None: often enough.

        A change is to be in force within a second of its commit: that takes the pause, one read, and one turn of the
        loop.
        """
        self._database: Final = database
        self._on_changes: Final = on_changes
        self._monotonic: Final = monotonic
        self._poll_s: Final = poll_s
        self._thread: Final = threading.Thread(target=self._run, name="change feed", daemon=True)
        self._stopping: Final = threading.Event()
        # Held by the thread from handing something to the loop until the loop has applied it: never two under way.
        self._handed: Final = threading.Event()
        self._position: int | None = None
        self._confirmed_s = -math.inf
        self._failing = False
        self._loop: Final = asyncio.get_running_loop()
        self._confirmed: Final = asyncio.Event()

    def start(self) -> None:
        """Begin; called once."""
        self._thread.start()

    async def confirmed(self) -> None:
        """Wait for the first confirmation; there is no deadline here."""
        await self._confirmed.wait()

    def stop(self) -> None:
        """End the thread and wait for it (a read under way finishes first, at most the busy timeout)."""
        self._stopping.set()
        self._handed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def age_s(self) -> float:
        """Seconds since the newest confirmed state; infinite before the first."""
        return self._monotonic() - self._confirmed_s

    @property
    def position(self) -> int | None:
        """The newest position applied; None before the first."""
        return self._position

    # In the thread.

    def _run(self) -> None:
        watch: Watch | None = None
        complained = False
        while not self._stopping.is_set():
            asked_s = self._monotonic()  # before the read: what is read is at least as new as this
            try:
                if watch is None:
                    watch = self._database.watch()
                changes = self._look(watch)
            except Exception as error:  # noqa: BLE001  # this thread must outlive anything: staleness does the refusing
                if not complained:
                    _log.warning(
                        "feed.unreadable", error=str(error), exc_info=not isinstance(error, DatabaseUnavailable)
                    )
                complained = True
                if watch is not None:
                    watch.close()
                    watch = None
            else:
                if complained:
                    _log.info("feed.readable_again")
                complained = False
                if not self._hand_over(changes, asked_s):
                    break
                if self._position is None or (changes and changes[-1].position != self._position):
                    watch.forget()  # it was not applied: read it again
            watch = self._pause(watch)
        if watch is not None:
            watch.close()

    def _pause(self, watch: Watch | None) -> Watch | None:
        """Wait until it is time to look again; the watch, unless it is of no more use."""
        if watch is not None:
            try:
                watch.wait(self._stopping, self._poll_s)
            except Exception:  # noqa: BLE001  # as above; if there is trouble, the next look tells it
                watch.close()
            else:
                return watch
        self._stopping.wait(_RETRY_S if self._poll_s is None else self._poll_s)
        return None

    def _look(self, watch: Watch) -> Sequence[Change]:
        if not watch.changed():
            return ()
        with self._database.connect() as connection:
            return read(connection, self._position)

    def _hand_over(self, changes: Sequence[Change], asked_s: float) -> bool:
        self._handed.clear()
        if self._stopping.is_set():  # stop() sets both, in this order: either it is seen here or it ends the wait below
            return False
        try:
            self._loop.call_soon_threadsafe(self._apply, changes, asked_s)
        except RuntimeError:  # the loop was closed without stop()
            return False
        self._handed.wait()
        return True

    # On the loop.

    def _apply(self, changes: Sequence[Change], asked_s: float) -> None:
        try:
            if self._stopping.is_set():
                return
            if changes:
                self._on_changes(changes)
                self._position = changes[-1].position
            self._confirmed_s = asked_s
            self._failing = False
            self._confirmed.set()
        except Exception:  # noqa: BLE001  # a bug in a cache must not end the feed; it ends trust instead
            if not self._failing:
                # They are tried again, and caches are not trusted meanwhile.
                _log.exception("feed.not_applied")
            self._failing = True
        finally:
            self._handed.set()
