"""The mover: carries events from a spool's outbox to the event store, each exactly once.

Order is everything: the batch is committed in the store first and deleted from the outbox afterwards. A crash in
between leaves rows in both, and the store recognises them. Nothing is remembered here from one batch to the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog

from sekisho.db import Database
from sekisho.events import log
from sekisho.events.log import Moved, Unreadable
from sekisho.events.record import NotAnEvent, decode

__all__ = ["BATCH_MAX", "Mover", "Outbox", "drain", "exclusive", "move_batch"]

_log = structlog.get_logger(__name__)

BATCH_MAX: Final = 1000
"""Outbox rows per transaction: a few hundred kilobytes, and two syncs shared by a thousand rows."""

_POLL_S: Final = 0.2
_BACKOFF_MAX_S: Final = 30.0
_FAILURES_MAX: Final = 10


class Outbox(Protocol):
    """What the mover asks of a spool; used by one thread."""

    @property
    def spool_id(self) -> str:
        """The spool's own name for itself, never that of another spool."""

    def read_outbox(self, after_seq: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read rows in ascending order of sequence, which is the order of commits."""

    def delete_outbox(self, up_to: int) -> None:
        """Delete all rows up to and including this sequence."""

    def close(self) -> None: ...


def move_batch(outbox: Outbox, database: Database, now_ms: int) -> int:
    """Move one batch; how many outbox rows it took, 0 when there were none."""
    # Always from the front: what is there was not moved, or was moved and not yet deleted.
    rows = outbox.read_outbox(0, BATCH_MAX)
    if not rows:
        return 0
    found = [_row(seq, blob, now_ms) for seq, blob in rows]
    for row in found:
        if isinstance(row, Unreadable):
            _log.error("mover.not_an_event", spool=outbox.spool_id, seq=row.seq, error=row.error)
    log.append_batch(database, outbox.spool_id, found)
    outbox.delete_outbox(rows[-1][0])
    return len(rows)


def drain(outbox: Outbox, database: Database, now_ms: int) -> int:
    """Move what is there now; how many rows."""
    total = 0
    while True:
        moved = move_batch(outbox, database, now_ms)
        total += moved
        if moved < BATCH_MAX:
            return total


@contextlib.contextmanager
def exclusive(lock_path: Path) -> Iterator[bool]:
    """Try to be the one mover of a data directory; false when another process, or thread, is.

    The store would recognise what two movers carry, but they would fight.
    """
    # A fork would share the lock: movers start after it.
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


class Mover:
    """Moves in a thread of its own, for as long as the process lives.

    Looks into the outbox every 200 ms: on an empty one that costs no more than asking whether it changed, and a spool
    that must be recovered is let go of at once. Errors are tried again, ever more slowly: while nothing can be moved,
    events wait in the outbox.
    """

    def __init__(
        self,
        spool_path: Path,
        open_outbox: Callable[[], Outbox],
        database: Database,
        *,
        lock_path: Path,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        poll_s: float = _POLL_S,
    ) -> None:
        self._spool_path: Final = spool_path
        self._open_outbox: Final = open_outbox
        self._database: Final = database
        self._lock_path: Final = lock_path
        self._now_ms: Final = now_ms
        self._poll_s: Final = poll_s
        self._stopping: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="event mover", daemon=True)

    def start(self) -> None:
        """Begin; called once, after the last fork."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch under way and end; what is left waits in the outbox."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def run_once(self) -> int:
        """Move everything there is now, unless another mover does; how many rows."""
        with exclusive(self._lock_path) as alone:
            if not alone:
                return 0
            with contextlib.closing(self._open_outbox()) as outbox:
                return drain(outbox, self._database, self._now_ms())

    def _run(self) -> None:
        failures = 0
        while not self._stopping.wait(min(self._poll_s * 2**failures, _BACKOFF_MAX_S)):
            try:
                # The relay worker makes the spool; until then there is nothing to complain about.
                if self._spool_path.exists():
                    with exclusive(self._lock_path) as alone:
                        if alone:
                            for _ in self._follow():
                                failures = 0
            except Exception as error:  # noqa: BLE001  # nothing is deleted that is not stored: try again is always right
                failures = min(failures + 1, _FAILURES_MAX)
                # Once with its traceback; the events wait in the outbox meanwhile.
                _log.warning("mover.failed", error=str(error), exc_info=failures == 1)

    def _follow(self) -> Iterator[None]:
        """Move while it goes well; yields after each success."""
        with contextlib.closing(self._open_outbox()) as outbox:
            while not self._stopping.is_set():
                moved = move_batch(outbox, self._database, self._now_ms())
                yield
                # A full batch: more is waiting. A smaller one: what comes in the next 200 ms goes together.
                if moved < BATCH_MAX:
                    self._stopping.wait(self._poll_s)


def _row(seq: int, blob: bytes, now_ms: int) -> Moved | Unreadable:
    try:
        return Moved(seq, decode(blob), blob)
    except NotAnEvent as error:
        return Unreadable(seq, blob, str(error), now_ms)
