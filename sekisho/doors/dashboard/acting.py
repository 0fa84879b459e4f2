"""Acting for a subuser, and which language pages are in: what the frame around every page offers."""

from __future__ import annotations

from typing import Any

from litestar import Response, post
from sqlalchemy import Connection

from sekisho import accounts, sessions, teammates, users
from sekisho.doors.dashboard import cookies
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import go, own_path
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.visitor import Visiting, must_stand
from sekisho.doors.http.store import Stored
from sekisho.languages import Language

_NAME_MAX = 254


@post("/act-for")
async def act_for(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    """Act for the subuser that the form names, or for nobody but oneself when it names none."""
    name = (await read_form(request)).text("subuser", _NAME_MAX)

    def begin(tx: Connection) -> None:
        must_stand(tx, visitor)
        subuser = accounts.find_subuser(tx, name) if name else None
        # One answer for a subuser that never was, for another account's, and for one that is not his to act for.
        if name and (subuser is None or teammates.may_act_for(tx, visitor.person, subuser) is None):
            raise PageProblem(404)
        sessions.act_for(tx, visitor.its_session, visitor.person, subuser, by=visitor.by)

    await store.write(begin)
    return go("/", flash=None if name else "acting-ended", request=request)


@post("/language")
async def language(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    form = await read_form(request)
    try:
        chosen = Language(form.text("language", 8))
    except ValueError:
        raise PageProblem(400) from None
    if visitor.user is not None and visitor.is_full:
        person = visitor.user
        await store.write(lambda tx: users.set_language(tx, person, chosen.value))
    response = go(own_path(form.raw("next", 4000)))
    cookies.set_language(request, response, chosen.value)
    return response


HANDLERS = (act_for, language)
