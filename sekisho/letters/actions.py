"""The only writers of letters: asked for in the transaction of what they tell of, sent later by ``service.letters``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from sekisho.ids import AccountId, UserId
from sekisho.letters.model import ANYBODYS, LIFETIME_MS, Kind, Letter
from sekisho.letters.tables import letter
from sekisho.ports.clock import DAY_MS

PER_HOUR: Final = 3
PER_DAY: Final = 10
"""Letters of a kind to one mailbox that strangers can cause: enough for the impatient, too few to be a nuisance."""

STRANGERS_MAX: Final = 5_000
"""Letters that strangers caused and that wait; what comes beyond is not written."""

KEPT_MS: Final = 7 * DAY_MS
"""Sent ones are kept for so long: for counting, and for operators who look for one."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_CLAIMED_MS: Final = 300_000
"""Whoever took a letter and died gave nothing back: so long after, somebody else takes it."""

_RETRY_FIRST_MS: Final = 60_000
_RETRY_MOST_MS: Final = 3_600_000
_AT_ONCE: Final = 20


def ask(
    tx: Connection,
    kind: Kind,
    to: str,
    *,
    at_ms: int,
    language: str,
    user_id: UserId | None = None,
    account_id: AccountId | None = None,
    invitation_id: int | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Have a letter written; what strangers ask for too often for one mailbox is forgotten, and nobody can tell."""
    if kind in ANYBODYS and _is_too_much(tx, kind, to, at_ms):
        return
    tx.execute(
        insert(letter).values(
            kind=kind.value,
            to_email=to,
            language=language,
            user_id=user_id,
            account_id=account_id,
            invitation_id=invitation_id,
            about=msgspec.json.encode(dict(about)).decode() if about else None,
            created_ms=at_ms,
            tries=0,
            next_ms=at_ms,
        )
    )


def _is_too_much(tx: Connection, kind: Kind, to: str, at_ms: int) -> bool:
    same = (letter.c.kind == kind.value) & (func.lower(letter.c.to_email) == to.lower())
    for most, within_ms in ((PER_HOUR, _HOUR_MS), (PER_DAY, _DAY_MS)):
        lately = select(func.count()).where(same, letter.c.created_ms > at_ms - within_ms)
        if tx.execute(lately).scalar_one() >= most:
            return True
    waiting = letter.c.done_ms.is_(None) & letter.c.kind.in_([one.value for one in ANYBODYS])
    return tx.execute(select(func.count()).where(waiting)).scalar_one() >= STRANGERS_MAX


def is_any(tx: Connection, now_ms: int) -> bool:
    """Whether ``claim`` would take something."""
    due = letter.c.done_ms.is_(None) & (letter.c.next_ms <= now_ms)
    return tx.execute(select(letter.c.id).where(due).limit(1)).first() is not None


def claim(tx: Connection, now_ms: int) -> tuple[Letter, ...]:
    """Take the next letters to write; those that waited too long are given up."""
    due = letter.c.done_ms.is_(None) & (letter.c.next_ms <= now_ms)
    taken: list[Letter] = []
    for row in tx.execute(select(letter).where(due).order_by(letter.c.next_ms, letter.c.id).limit(_AT_ONCE)).all():
        kind = Kind(row.kind)
        this = letter.c.id == row.id
        if row.created_ms + LIFETIME_MS[kind] <= now_ms:
            tx.execute(update(letter).where(this).values(done_ms=now_ms))
            continue
        tx.execute(update(letter).where(this).values(next_ms=now_ms + _CLAIMED_MS, tries=row.tries + 1))
        taken.append(
            Letter(
                row.id,
                kind,
                row.to_email,
                row.language,
                None if row.user_id is None else UserId(row.user_id),
                None if row.account_id is None else AccountId(row.account_id),
                row.invitation_id,
                {} if row.about is None else msgspec.json.decode(row.about, type=dict[str, str]),
                row.created_ms,
                row.tries + 1,
            )
        )
    return tuple(taken)


def finish(tx: Connection, letter_id: int, *, at_ms: int) -> None:
    """It was handed in, or concerned nobody: nobody can tell which."""
    tx.execute(update(letter).where(letter.c.id == letter_id).values(done_ms=at_ms))


def give_back(tx: Connection, one: Letter, *, at_ms: int) -> None:
    """It could not be handed in: later again."""
    pause_ms = min(_RETRY_MOST_MS, _RETRY_FIRST_MS << min(one.tries - 1, 10))
    tx.execute(update(letter).where(letter.c.id == one.id).values(next_ms=at_ms + pause_ms))


def prune(tx: Connection, now_ms: int) -> int:
    """Remove what was done long ago; how many."""
    return tx.execute(delete(letter).where(letter.c.done_ms < now_ms - KEPT_MS)).rowcount


def erase_user(tx: Connection, user_id: UserId) -> None:
    """Forget letters about a person who goes."""
    tx.execute(delete(letter).where(letter.c.user_id == user_id))


def erase_tenant(tx: Connection, tenant_id: AccountId) -> None:
    """Forget letters about a tenant that goes, apart from those about its people."""
    tx.execute(delete(letter).where(letter.c.account_id == tenant_id))


def detach_invitation(tx: Connection, invitation_id: int, *, at_ms: int) -> None:
    """Send nothing more about an invitation whose row goes; what was sent still counts for whoever sent it."""
    done_ms = func.coalesce(letter.c.done_ms, at_ms)
    values = {"invitation_id": None, "done_ms": done_ms}
    tx.execute(update(letter).where(letter.c.invitation_id == invitation_id).values(values))


def count(
    tx: Connection, kind: Kind, *, account_id: AccountId | None = None, user_id: UserId | None = None, since_ms: int
) -> int:
    """Count what was asked for since then about an account or subuser, or about a person."""
    about = letter.c.account_id == account_id if user_id is None else letter.c.user_id == user_id
    asked = (letter.c.kind == kind.value) & (letter.c.created_ms > since_ms) & about
    return tx.execute(select(func.count()).where(asked)).scalar_one()
