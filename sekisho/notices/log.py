"""Notices as stored: written in the transaction of what they tell of, so that neither is there without the other."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from sekisho.accounts import account_by_id
from sekisho.db import ROW_ID, control
from sekisho.ids import AccountId

_log = structlog.get_logger(__name__)

KEPT: Final = 1000
"""Per account and per subuser, the newest."""

FOLD_MS: Final = 3_600_000
"""The same about the same thing within an hour is one notice: whoever alarms in a loop fills nobody's mailbox."""


class Kind(enum.StrEnum):
    """What happened, ``subject.action``."""

    CANARY_USED = "key.canary_used"  # somebody tried a key that nobody has any reason to try
    KEY_HELD = "key.held"  # held by us: it leaked, or was used as never before
    MESSAGE_HELD = "message.held"  # its content carries a key in force
    SCOPES_ASKED = "teammate.asked"  # a teammate asks for scopes
    TEAMMATE_REMOVED = "teammate.removed"  # and which keys that he made still work


notice = Table(
    "notice",
    control,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # The account or subuser that is told.
    Column("owner_id", ForeignKey("account.id"), nullable=False),
    # Kind.
    Column("kind", String(40), nullable=False),
    # What it is about: a key id, a message id.
    Column("subject", String(255), nullable=False),
    # English sentences for people; never a secret.
    Column("text", Text, nullable=False),
    # How often it happened within the hour.
    Column("count", Integer, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    # NULL: not mailed yet.
    Column("mailed_ms", BigInteger, nullable=True),
    sqlite_autoincrement=True,
)

Index("notice_owner", notice.c.owner_id, notice.c.id)
Index("notice_mailed", notice.c.mailed_ms)


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice."""

    id: int
    owner_id: AccountId
    kind: str
    subject: str
    text: str
    count: int
    first_ms: int
    last_ms: int
    mailed_ms: int | None


def tell(tx: Connection, owner_id: AccountId, kind: Kind, subject: str, text: str, *, at_ms: int) -> None:
    """Tell an account; what a subuser is told, its parent is told too."""
    told = account_by_id(tx, owner_id)
    if told is None:
        return
    for one in (told.id,) if told.parent_id is None else (told.id, told.parent_id):
        _tell(tx, one, kind, subject, text, at_ms)
    _log.warning("owner.told", account=told.name, kind=kind.value, subject=subject)


def listing(tx: Connection, owner_id: AccountId, *, limit: int, before: int | None = None) -> tuple[Notice, ...]:
    """Read what an owner was told, the newest first; ``before`` is the id of the last one seen."""
    mine = notice.c.owner_id == owner_id
    query = select(notice).where(mine if before is None else mine & (notice.c.id < before))
    rows = tx.execute(query.order_by(notice.c.id.desc()).limit(limit))
    return tuple(Notice(**row._mapping) for row in rows)  # noqa: SLF001  # a public name in spite of its spelling


def erase(tx: Connection, owner_id: AccountId) -> None:
    """Forget what a tenant that goes was told."""
    tx.execute(delete(notice).where(notice.c.owner_id == owner_id))


def _tell(  # noqa: PLR0917
    tx: Connection, owner_id: AccountId, kind: Kind, subject: str, text: str, at_ms: int
) -> None:
    same = (notice.c.owner_id == owner_id) & (notice.c.kind == kind.value) & (notice.c.subject == subject)
    lately = select(notice.c.id).where(same, notice.c.first_ms > at_ms - FOLD_MS, notice.c.first_ms <= at_ms)
    found = tx.execute(lately.order_by(notice.c.id.desc()).limit(1)).scalar()
    if found is not None:
        tx.execute(update(notice).where(notice.c.id == found).values(count=notice.c.count + 1, last_ms=at_ms))
        return
    values = {"owner_id": owner_id, "kind": kind.value, "subject": subject, "text": text}
    tx.execute(insert(notice).values(**values, count=1, first_ms=at_ms, last_ms=at_ms))
    mine = notice.c.owner_id == owner_id
    oldest = tx.execute(select(notice.c.id).where(mine).order_by(notice.c.id.desc()).offset(KEPT).limit(1)).scalar()
    if oldest is not None:
        tx.execute(delete(notice).where(mine, notice.c.id <= oldest))
