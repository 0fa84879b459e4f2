"""Sessions, read by their token or by whose they are."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, select

from sekisho.ids import UserId
from sekisho.secret import Secret
from sekisho.sessions.model import IDLE_MS, Session, Stage, digest_of, from_row
from sekisho.sessions.tables import session

TOKEN_MAX: Final = 100
"""Characters of a token that are looked at; ours has 43."""

LISTED_MAX: Final = 100


def find_session(tx: Connection, token: Secret[str], now_ms: int) -> Session | None:
    """Find the session that a cookie names; None when there is none, or it is over."""
    text = token.reveal()
    if not text or len(text) > TOKEN_MAX or not text.isascii():
        return None
    row = tx.execute(select(session).where(session.c.digest == digest_of(token))).one_or_none()
    found = None if row is None else from_row(row)
    return found if found is not None and found.lives(now_ms) else None


def sessions_of(tx: Connection, user_id: UserId, now_ms: int) -> tuple[Session, ...]:
    """List somebody's complete log-ins that are not over, the one seen last first."""
    mine = (session.c.user_id == user_id) & (session.c.stage == Stage.FULL.value) & in_force(now_ms)
    query = select(session).where(mine).order_by(session.c.seen_ms.desc(), session.c.id.desc()).limit(LISTED_MAX)
    return tuple(from_row(row) for row in tx.execute(query))


def in_force(now_ms: int) -> ColumnElement[bool]:
    """Say in SQL what ``Session.lives`` says."""
    return (session.c.created_ms <= now_ms) & (session.c.expires_ms > now_ms) & (session.c.seen_ms > now_ms - IDLE_MS)


def session_by_id(tx: Connection, session_id: int) -> Session | None:
    """Read one again, whose token was seen before."""
    row = tx.execute(select(session).where(session.c.id == session_id)).one_or_none()
    return None if row is None else from_row(row)
