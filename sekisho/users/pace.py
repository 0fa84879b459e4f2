"""How often passwords and codes may be tried: counted in the database, so for all processes together.

A try is counted before it is judged, in the same transaction that looks whether there is one left: of a hundred at the
same time no more are judged than of a hundred one after the other. One that succeeds is given back.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from sekisho.ids import UserId
from sekisho.secret import Secret
from sekisho.users.tables import login_failure

PURPOSE: Final = "login pace"
"""What the key of ``Pace`` is derived for (``Sealer.derive``)."""

_MINUTE_MS: Final = 60_000


class Kind(enum.Enum):
    """What is counted: ``(column, tries, window_ms)``; windows are fixed, so around a border it is up to twice that."""

    NAME = ("name", 10, 15 * _MINUTE_MS)  # one typed name, whether or not anybody has it
    KNOWN = ("known", 20, 15 * _MINUTE_MS)  # so many more from where its owner has logged in before
    ADDRESS = ("address", 20, 10 * _MINUTE_MS)  # one address, whomever it tries
    FACTOR = ("factor", 5, 15 * _MINUTE_MS)  # second factors of one person

    @property
    def column(self) -> str:
        return self.value[0]

    @property
    def tries(self) -> int:
        return self.value[1]

    @property
    def window_ms(self) -> int:
        return self.value[2]


@dataclass(frozen=True, slots=True)
class Taken:
    """One try that may be made; give it back when it succeeds."""

    kind: Kind
    subject: str
    window: int


class Pace:
    """Counts; what it counts stands in the database only as a keyed digest, since people type passwords as names."""

    def __init__(self, key: Secret[bytes]) -> None:
        self._key: Final = key

    def take(self, tx: Connection, kind: Kind, subject: str, now_ms: int) -> Taken | None:
        """Count a try; None, with nothing counted, when there was none left."""
        taken = self._at(kind, subject, now_ms)
        this = _row_of(taken)
        counted = tx.execute(
            update(login_failure)
            .where(this, login_failure.c.count < kind.tries)
            .values(count=login_failure.c.count + 1)
            .returning(login_failure.c.count)
        ).scalar()
        if counted is not None:
            return taken
        if tx.execute(select(login_failure.c.count).where(this)).scalar() is not None:
            return None
        # The one turn for writers is ours: nobody else inserts the same.
        values = {"kind": kind.column, "subject": taken.subject, "window": taken.window, "count": 1}
        tx.execute(insert(login_failure).values(values))
        return taken

    def is_over(self, tx: Connection, kind: Kind, subject: str, now_ms: int) -> bool:
        """Look without counting: who is over need not wait for a turn to write."""
        found = tx.execute(select(login_failure.c.count).where(_row_of(self._at(kind, subject, now_ms)))).scalar()
        return found is not None and found >= kind.tries

    def take_factor(self, tx: Connection, user_id: UserId, now_ms: int) -> Taken | None:
        """Count a try at a second factor; None when there was none left."""
        return self.take(tx, Kind.FACTOR, str(user_id), now_ms)

    def _at(self, kind: Kind, subject: str, now_ms: int) -> Taken:
        digest = hmac.new(self._key.reveal(), f"{kind.column}\0{subject}".encode(errors="replace"), hashlib.sha256)
        return Taken(kind, digest.hexdigest(), now_ms // kind.window_ms)


def give_back(tx: Connection, taken: Taken) -> None:
    """Take a try for not made: it succeeded."""
    this = _row_of(taken)
    tx.execute(update(login_failure).where(this, login_failure.c.count > 0).values(count=login_failure.c.count - 1))


def wait_s(kind: Kind, now_ms: int) -> int:
    """Seconds until the next window begins."""
    return (kind.window_ms - now_ms % kind.window_ms + 999) // 1000


def prune(tx: Connection, now_ms: int) -> int:
    """Remove windows that are over; how many."""
    removed = 0
    for kind in Kind:
        old = (login_failure.c.kind == kind.column) & (login_failure.c.window < now_ms // kind.window_ms)
        removed += tx.execute(delete(login_failure).where(old)).rowcount
    return removed


def _row_of(taken: Taken) -> ColumnElement[bool]:
    return (
        (login_failure.c.kind == taken.kind.column)
        & (login_failure.c.subject == taken.subject)
        & (login_failure.c.window == taken.window)
    )
