"""What a worker notices of others: operators' changes, unclaimed deliveries, workers that are gone, a failure."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from sekisho.ports.clock import Clock
from sekisho.queue import queries
from sekisho.queue.layout import Layout
from sekisho.queue.slots import Slots

_ADOPT_S: Final = 1.0


class ChangeKind(enum.StrEnum):
    """What happened to deliveries other than through this worker's own ``append`` and ``settle``."""

    ADDED = "added"  # claimed: appended by a process without a slot
    DROPPED = "dropped"  # gone, with their events
    DUE = "due"  # due at once
    HELD = "held"  # not to be attempted until released
    RELEASED = "released"  # no longer held


@dataclass(frozen=True, slots=True)
class SpoolChange:
    """One change. The rows may belong to other workers: those that are not known here are none of our business."""

    kind: ChangeKind
    rows: tuple[int, ...]
    destinations: tuple[str, ...]
    """Where they go: what to look at again."""


class SpoolSuspectError(Exception):
    """Storage failed under the spool; it is to be recovered before anybody uses it."""

    def __init__(self) -> None:
        super().__init__("storage failed under the spool; it is recovered at the next start of the server")


_read_rows: Final = msgspec.msgpack.Decoder(tuple[int, ...]).decode
_read_names: Final = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class Watch:
    """The regular look, in the reader's thread. Every callback is called there."""

    def __init__(
        self,
        layout: Layout,
        slots: Slots | None,
        clock: Clock,
        *,
        on_change: Callable[[SpoolChange], None],
        on_unclaimed: Callable[[], None],
        on_adopted: Callable[[tuple[int, ...]], None],
    ) -> None:
        self._layout = layout
        self._slots = slots
        self._clock = clock
        self._on_change = on_change
        self._on_unclaimed = on_unclaimed
        self._on_adopted = on_adopted
        self._version = -1
        self._position: int | None = None
        self._adopt_at = 0.0

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Look once.

        Raises:
            SpoolSuspectError: another process has seen storage fail.
        """
        if self._layout.suspect.exists():
            raise SpoolSuspectError
        if self._slots is None:
            return
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._follow(connection)
            if queries.is_unclaimed(connection):
                self._on_unclaimed()
            self._version = version
        if self._clock.monotonic() >= self._adopt_at:
            self._adopt(connection, self._slots)
            self._adopt_at = self._clock.monotonic() + _ADOPT_S

    def _follow(self, connection: sqlite3.Connection) -> None:
        if self._position is None:
            # What was changed before this worker held anything in memory is simply what it reads.
            (self._position,) = connection.execute("SELECT coalesce(max(seq), 0) FROM change").fetchone()
            return
        for seq, kind, rows, destinations in connection.execute(
            "SELECT seq, kind, rows, destinations FROM change WHERE seq > ? ORDER BY seq", (self._position,)
        ):
            self._on_change(SpoolChange(ChangeKind(kind), _read_rows(rows), _read_names(destinations)))
            self._position = seq

    def _adopt(self, connection: sqlite3.Connection, slots: Slots) -> None:
        present = queries.owners_present(connection)
        slots.release_except(present)
        adopted = slots.adopt(present)
        if adopted:
            self._on_adopted(adopted)
