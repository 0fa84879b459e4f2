"""What a subuser may still send: its grant, which stands with the account, against what this node's spool counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from sekisho import accounts
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.credits import Credits
from sekisho.queue.counters import used_of
from sekisho.refusal import Declined, Obstacle


@dataclass(frozen=True, slots=True)
class Left:
    """Where a limited grant stands now."""

    size: int
    """All of the present period."""
    used: int
    remain: int


def left(spool: Path, granted: Credits, now_ms: int) -> Left:
    """Count it; reads the spool, in a thread. Raises DatabaseUnavailable."""
    bucket = granted.bucket(now_ms)
    used = used_of(spool, bucket)
    return Left(bucket.size, used, max(0, bucket.size - used))


def add_to_remaining(tx: Connection, spool: Path, subuser: Account, difference: int, *, by: By) -> Account | Declined:
    """Add to what remains now, or take away; an unlimited grant has nothing to add to. Raises DatabaseUnavailable."""
    if subuser.credits is None:
        return Declined(Obstacle.CREDITS_UNLIMITED, "the credits of this subuser are unlimited")
    used = used_of(spool, subuser.credits.bucket(by.at_ms))
    return accounts.grant_credits(tx, subuser, subuser.credits.changed_by(difference, used, by.at_ms), by=by)
