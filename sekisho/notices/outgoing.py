"""Notices that are to be mailed: which, to whom, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, update

from sekisho.accounts.model import account
from sekisho.notices.log import notice

MAILED_WITHIN_MS: Final = 7 * 24 * 3_600_000
"""Older ones are left: nobody wants a week of old alarms once mail works again."""

_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One notice for one mailbox."""

    id: int
    to: str
    account: str
    """The name of who is told."""
    kind: str
    text: str
    at_ms: int


def claim(tx: Connection, now_ms: int) -> tuple[Outgoing, ...]:
    """Take the next notices to mail: from now on they count as mailed, also for other machines."""
    due = (
        select(notice, account.c.owner_email, account.c.name)
        .join(account, account.c.id == notice.c.owner_id)
        .where(notice.c.mailed_ms.is_(None), notice.c.first_ms > now_ms - MAILED_WITHIN_MS)
        .where(account.c.owner_email.is_not(None))
    )
    rows = tx.execute(due.order_by(notice.c.id).limit(_AT_ONCE)).all()
    ids = [row.id for row in rows]
    if ids:
        tx.execute(update(notice).where(notice.c.id.in_(ids)).values(mailed_ms=now_ms))
    return tuple(Outgoing(row.id, row.owner_email, row.name, row.kind, row.text, row.first_ms) for row in rows)


def give_back(tx: Connection, notice_id: int) -> None:
    """It was not mailed after all."""
    tx.execute(update(notice).where(notice.c.id == notice_id).values(mailed_ms=None))


def is_any(tx: Connection, now_ms: int) -> bool:
    """Whether ``claim`` would find something."""
    unmailed = notice.c.mailed_ms.is_(None) & (notice.c.first_ms > now_ms - MAILED_WITHIN_MS)
    mailable = select(notice.c.id).join(account, account.c.id == notice.c.owner_id)
    mailable = mailable.where(unmailed, account.c.owner_email.is_not(None))
    return tx.execute(mailable.limit(1)).first() is not None
