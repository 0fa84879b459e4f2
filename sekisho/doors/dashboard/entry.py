"""The steps of a log-in, whichever way it came: a password, a link, a passkey alone, another site's word.

Each gives a session under a token of its own. What is complete is audited, and told when it comes from somewhere new.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from litestar import Response
from sqlalchemy import Connection

from sekisho import accounts, audit, factors, ipaccess, letters, sessions
from sekisho.audit import By
from sekisho.doors.dashboard import cookies
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.pages import go, own_path
from sekisho.doors.dashboard.problems import PageProblem, SessionOver
from sekisho.doors.dashboard.visitor import Visitor, may_log_in
from sekisho.languages import N_
from sekisho.sessions import Begun, Method, Stage
from sekisho.users import User, addresses

SECOND: Final = "/login/second"
ENROL: Final = "/enrol"

SWITCHED_OFF: Final = N_("This account is switched off. Ask whoever runs this server, or your parent account.")
NOT_FROM_HERE: Final = N_("Your IP address is not on the list of those that may use this account.")


def begin(tx: Connection, request: WebRequest, visitor: Visitor, person: User) -> Begun:
    """Take a password (or a link that stands for one) as shown: the second factor is next, or enrolling one.

    The session that the browser had before ends. Raises PageProblem when the person may not come in at all.
    """
    _may_come(tx, person, visitor)
    _leave(tx, visitor)
    stage = Stage.PASSWORD if factors.enrolled(tx, person.id).is_any else Stage.ENROL
    return sessions.begin(
        tx,
        user_id=person.id,
        stage=stage,
        address=str(visitor.address),
        user_agent=request.headers.get("user-agent", ""),
        at_ms=visitor.now_ms,
    )


def complete(tx: Connection, visitor: Visitor, method: Method, *, person: User | None = None) -> Begun:
    """Bring the visitor's session to FULL: both factors were shown, or the first one was enrolled.

    ``person`` is who a visitor without a password has turned out to be (a passkey alone). In the transaction that used
    the factor up. Raises SessionOver when another request was first.
    """
    who = person or visitor.person
    _may_come(tx, who, visitor)
    begun = sessions.advance(
        tx, visitor.its_session, stage=Stage.FULL, method=method, at_ms=visitor.now_ms, user_id=who.id
    )
    if begun is None:
        raise SessionOver
    by = By(f"user:{who.id}", visitor.now_ms, str(visitor.address))
    details: dict[str, audit.Detail] = {"method": method.value}
    audit.record(tx, by=by, action="user.login", account_id=who.tenant_id, subject=who.username, details=details)
    if addresses.note(tx, who, visitor.address, by=by) and who.login_email is not None:
        language = who.language or visitor.language.value
        about = {"address": str(visitor.address)}
        letters.ask(
            tx,
            letters.Kind.NEW_LOGIN,
            who.email,
            at_ms=visitor.now_ms,
            language=language,
            user_id=who.id,
            about=about,
        )
    return begun


def step_up(tx: Connection, visitor: Visitor, method: Method) -> Begun:
    """Note that the second factor was shown once more: a new token, and ten minutes of what asks for it."""
    begun = sessions.advance(tx, visitor.its_session, stage=Stage.FULL, method=method, at_ms=visitor.now_ms)
    if begun is None:
        raise SessionOver
    details: dict[str, audit.Detail] = {"method": method.value}
    who = visitor.person
    audit.record(
        tx, by=visitor.by, action="session.step_up", account_id=who.tenant_id, subject=who.username, details=details
    )
    return begun


def enter(request: WebRequest, begun: Begun, path: str = "/") -> Response[Any]:
    """Hand the new token over, and lead on: to ``path``, or to what the log-in still lacks and from there to it."""
    target = own_path(path)
    landing = {Stage.PASSWORD: SECOND, Stage.ENROL: ENROL}.get(begun.session.stage)
    if landing is not None:
        target = landing if target == "/" else f"{landing}?next={quote(target, safe='')}"
    response = go(target)
    cookies.set_session(request, response, begun)
    return response


def _may_come(tx: Connection, person: User, visitor: Visitor) -> None:
    home = accounts.account_by_id(tx, person.tenant_id)
    if home is None or not may_log_in(tx, home):
        raise PageProblem(403, SWITCHED_OFF)
    if not ipaccess.allow_list(tx, home.id).admits(visitor.address):
        raise PageProblem(403, NOT_FROM_HERE)


def _leave(tx: Connection, visitor: Visitor) -> None:
    """End what this browser had open, whoever's it was."""
    if visitor.session is None:
        return
    if visitor.user is not None and visitor.is_full:
        sessions.end(tx, visitor.user, visitor.session.id, by=visitor.by)
    else:
        sessions.forget(tx, visitor.session)
