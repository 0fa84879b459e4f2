"""Notices that are to be mailed: which, to whom, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import ColumnElement, Connection, exists, select, update

from sekisho.accounts.model import account
from sekisho.notices.log import FOLD_MS, notice

MAILED_WITHIN_MS: Final = 7 * 24 * 3_600_000
"""Older ones are left: nobody wants a week of old alarms once mail works again."""

_AT_ONCE: Final = 20
_LOOKED_AT: Final = 1000


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
    more: int = 0
    """Notices of the same kind that are not mailed one by one."""


def claim(tx: Connection, now_ms: int) -> tuple[Outgoing, ...]:
    """Take the next notices to mail: from now on they count as mailed, also for other machines.

    An owner gets one mail of a kind within the hour: the first notice, and how many more there were.
    """
    due = (
        select(notice, account.c.owner_email, account.c.name)
        .join(account, account.c.id == notice.c.owner_id)
        .where(_is_due(now_ms), account.c.owner_email.is_not(None))
    )
    taken: dict[tuple[int, str], Outgoing] = {}
    for row in tx.execute(due.order_by(notice.c.id).limit(_LOOKED_AT)):
        whose = (row.owner_id, row.kind)
        first = taken.get(whose)
        if first is not None:
            taken[whose] = replace(first, more=first.more + 1)
        elif len(taken) < _AT_ONCE:
            taken[whose] = Outgoing(row.id, row.owner_email, row.name, row.kind, row.text, row.first_ms)
    for (owner_id, kind), one in taken.items():
        same = (notice.c.owner_id == owner_id) & (notice.c.kind == kind) & notice.c.mailed_ms.is_(None)
        tx.execute(update(notice).where(same, notice.c.id >= one.id).values(mailed_ms=now_ms))
    return tuple(taken.values())


def _is_due(now_ms: int) -> ColumnElement[bool]:
    mailed = notice.alias()
    lately = (mailed.c.owner_id == notice.c.owner_id) & (mailed.c.kind == notice.c.kind)
    lately &= mailed.c.mailed_ms > now_ms - FOLD_MS
    is_new = notice.c.mailed_ms.is_(None) & (notice.c.first_ms > now_ms - MAILED_WITHIN_MS)
    return is_new & ~exists().where(lately)


def give_back(tx: Connection, notice_id: int) -> None:
    """It was not mailed after all."""
    tx.execute(update(notice).where(notice.c.id == notice_id).values(mailed_ms=None))


def is_any(tx: Connection, now_ms: int) -> bool:
    """Whether ``claim`` would find something."""
    mailable = select(notice.c.id).join(account, account.c.id == notice.c.owner_id)
    mailable = mailable.where(_is_due(now_ms), account.c.owner_email.is_not(None))
    return tx.execute(mailable.limit(1)).first() is not None
