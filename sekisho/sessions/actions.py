"""The only writers of sessions. A token is new whenever a session can do more than before: none can be planted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from sekisho import audit
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.ids import AccountId, UserId
from sekisho.sessions.model import (
    ABSOLUTE_MS,
    HALF_MS,
    IDLE_MS,
    SCRATCH_MAX,
    SEEN_EVERY_MS,
    USER_AGENT_MAX,
    Begun,
    Method,
    Session,
    Stage,
    digest_of,
    from_row,
    new_token,
)
from sekisho.sessions.tables import session
from sekisho.users import User

SESSIONS_MAX: Final = 50
"""Of one person; the one that was not seen longest ends."""


def begin(
    tx: Connection,
    *,
    user_id: UserId | None,
    stage: Stage,
    address: str,
    user_agent: str,
    at_ms: int,
    method: Method = Method.NONE,
) -> Begun:
    """Open a session; one that is FULL from the start has shown its second factor just now."""
    if user_id is not None:
        _make_room(tx, user_id)
    token = new_token()
    row = tx.execute(
        insert(session)
        .values(
            digest=digest_of(token),
            user_id=user_id,
            stage=stage.value,
            acting_for=None,
            method=method.value,
            created_ms=at_ms,
            seen_ms=at_ms,
            expires_ms=at_ms + (ABSOLUTE_MS if stage is Stage.FULL else HALF_MS),
            stepped_up_ms=at_ms if stage is Stage.FULL else None,
            address=address,
            user_agent=_plain(user_agent),
            scratch=None,
        )
        .returning(session)
    ).one()
    return Begun(from_row(row), token)


def advance(
    tx: Connection, of: Session, *, stage: Stage, method: Method, at_ms: int, user_id: UserId | None = None
) -> Begun | None:
    """Bring a session further (to FULL: the second factor was shown just now), under a new token.

    ``user_id`` is who a visitor has turned out to be. None: the session ended meanwhile, or another request brought
    it further.
    """
    token = new_token()
    begins = stage is Stage.FULL and of.stage is not Stage.FULL
    values: dict[str, Any] = {
        "digest": digest_of(token),
        "stage": stage.value,
        "method": method.value,
        "seen_ms": at_ms,
        "scratch": None,
    }
    if stage is Stage.FULL:
        # Another site's second factor was shown who knows when.
        values["stepped_up_ms"] = None if method is Method.OIDC else at_ms
    if begins:
        values |= {"created_ms": at_ms, "expires_ms": at_ms + ABSOLUTE_MS}
    if user_id is not None:
        values["user_id"] = user_id
    # As it was read: of two requests with one token the second comes too late.
    same = (
        (session.c.id == of.id)
        & (session.c.stage == of.stage.value)
        & session.c.stepped_up_ms.is_not_distinct_from(of.stepped_up_ms)
    )
    row = tx.execute(update(session).where(same).values(values).returning(session)).one_or_none()
    return None if row is None else Begun(from_row(row), token)


def touch(tx: Connection, of: Session, *, address: str, at_ms: int) -> None:
    """Note that it is used, once a minute."""
    stale = (session.c.id == of.id) & (session.c.seen_ms <= at_ms - SEEN_EVERY_MS)
    tx.execute(update(session).where(stale).values(seen_ms=at_ms, address=address))


def remember(tx: Connection, of: Session, scratch: Mapping[str, Any] | None) -> None:
    """Keep what the next step of a dialogue needs; None forgets it. Raises ValueError when it is too much."""
    text = msgspec.json.encode(dict(scratch)).decode() if scratch else None
    if text is not None and len(text) > SCRATCH_MAX:
        message = "too much to remember in a session"
        raise ValueError(message)
    tx.execute(update(session).where(session.c.id == of.id).values(scratch=text))


def take_scratch(tx: Connection, of: Session) -> dict[str, Any]:
    """Read what was remembered and forget it: a challenge is good once, of two who ask one gets nothing."""
    kept = session.c.scratch
    text = tx.execute(select(kept).where(session.c.id == of.id)).scalar()
    if text is None:
        return {}
    taken = tx.execute(update(session).where(session.c.id == of.id, kept == text).values(scratch=None)).rowcount
    found: dict[str, Any] = msgspec.json.decode(text) if taken else {}
    return found


def act_for(tx: Connection, of: Session, whom: User, subuser: Account | None, *, by: By) -> None:
    """Have a session act for a subuser, or (None) for its own tenant again; that it may is the caller's to ask."""
    number = None if subuser is None else subuser.id
    tx.execute(update(session).where(session.c.id == of.id).values(acting_for=number))
    if subuser is not None and number != of.acting_for:
        audit.record(tx, by=by, action="session.act_for", account_id=subuser.id, subject=whom.username)


def end(tx: Connection, whose: User, session_id: int, *, by: By) -> bool:
    """End one of somebody's sessions; False when it is none of his, or over."""
    return _end(tx, whose, session.c.id == session_id, by) == 1


def end_others(tx: Connection, whose: User, but: Session, *, by: By) -> int:
    """End all of somebody's sessions but one; how many."""
    return _end(tx, whose, session.c.id != but.id, by)


def end_of(tx: Connection, user_id: UserId, *, but: int | None = None) -> None:
    """Log somebody out everywhere, but for one session; what it comes with (another password, the end) is audited."""
    theirs = session.c.user_id == user_id
    tx.execute(delete(session).where(theirs if but is None else theirs & (session.c.id != but)))


def end_acting_for(tx: Connection, subuser_id: AccountId) -> None:
    """Log out everywhere who acts for a subuser that goes."""
    tx.execute(delete(session).where(session.c.acting_for == subuser_id))


def sweep(tx: Connection, now_ms: int) -> int:
    """Remove what is over; how many."""
    over = (session.c.expires_ms <= now_ms) | (session.c.seen_ms <= now_ms - IDLE_MS)
    return tx.execute(delete(session).where(over)).rowcount


def _end(tx: Connection, whose: User, which: ColumnElement[bool], by: By) -> int:
    gone = tx.execute(delete(session).where(session.c.user_id == whose.id, which)).rowcount
    if gone:
        details: dict[str, audit.Detail] = {"sessions": gone}
        audit.record(
            tx, by=by, action="session.end", account_id=whose.tenant_id, subject=whose.username, details=details
        )
    return gone


def _make_room(tx: Connection, user_id: UserId) -> None:
    mine = select(session.c.id).where(session.c.user_id == user_id).order_by(session.c.seen_ms.desc(), session.c.id)
    for number in tx.execute(mine.offset(SESSIONS_MAX - 1)).scalars().all():
        tx.execute(delete(session).where(session.c.id == number))


def _plain(user_agent: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in user_agent[:USER_AGENT_MAX])


def forget(tx: Connection, of: Session) -> None:
    """Remove a log-in that was given up before it was complete: nothing to tell of."""
    tx.execute(delete(session).where(session.c.id == of.id))
