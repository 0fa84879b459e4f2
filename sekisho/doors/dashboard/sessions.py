"""Where somebody is logged in, and how to end it."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import sessions
from sekisho.doors.dashboard import cookies
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.pages import go, page
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.visitor import Visiting, must_stand
from sekisho.doors.http.store import Stored

_ID_MAX = 2**63 - 1


@get("/sessions")
async def listed(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    found = await store.read(lambda tx: sessions.sessions_of(tx, visitor.person.id, visitor.now_ms))
    return page(request, "sessions.html", sessions=found, this=visitor.its_session.id)


@post("/sessions/{session_id:int}/end")
async def end(request: WebRequest, visitor: Visiting, store: Stored, session_id: FromPath[int]) -> Response[Any]:
    if not 0 < session_id <= _ID_MAX:
        raise PageProblem(404)

    def end_it(tx: Connection) -> bool:
        must_stand(tx, visitor)
        return sessions.end(tx, visitor.person, session_id, by=visitor.by)

    ended = await store.write(end_it)
    if session_id == visitor.its_session.id:
        response = go("/login", flash="signed-out", request=request)
        cookies.drop(request, response, cookies.SESSION)
        return response
    if not ended:
        raise PageProblem(404)
    return go("/sessions", flash="session-ended", request=request)


@post("/sessions/others/end")
async def end_others(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    def end_them(tx: Connection) -> int:
        must_stand(tx, visitor)
        return sessions.end_others(tx, visitor.person, visitor.its_session, by=visitor.by)

    await store.write(end_them)
    return go("/sessions", flash="sessions-ended", request=request)


HANDLERS = (listed, end, end_others)
