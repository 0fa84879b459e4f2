"""The second factor of a log-in whose password was right; a few wrong ones end it, and it begins again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho import sessions
from sekisho.doors.dashboard import cookies, entry, proving
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import go, own_path, page
from sekisho.doors.dashboard.proving import NotShown, prove
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Stored
from sekisho.sessions import Begun, Method
from sekisho.users.pace import Kind

SECURITY: Final = "/security"


@dataclass(frozen=True, slots=True)
class _Ended:
    """That was one too many."""


@get(entry.SECOND)
async def form_shown(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[str]:
    return await _ask(request, visitor, parts, target=own_path(request.query_params.get("next", "/")))


@post(entry.SECOND)
async def show(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    target = own_path(form.raw("next", 4000))
    if form.raw("by") == "passkey":
        return await _ask(request, visitor, parts, target=target, by_passkey=True)

    def try_it(tx: Connection) -> Begun | NotShown | _Ended:
        must_stand(tx, visitor)
        method = prove(tx, parts, visitor, form)
        if isinstance(method, Method):
            return entry.complete(tx, visitor, method)
        if parts.pace.is_over(tx, Kind.FACTOR, str(visitor.person.id), visitor.now_ms):
            sessions.forget(tx, visitor.its_session)
            return _Ended()
        return method

    tried: Begun | NotShown | _Ended = await store.write(try_it)
    if isinstance(tried, Begun):
        return _enter(request, tried, target)
    parts.on_failed(visitor.address, visitor.person.tenant_id, visitor.person.id)
    if isinstance(tried, NotShown):
        return await _ask(request, visitor, parts, target=target, fault=tried)
    response = go("/login", flash="second-ended", request=request)
    cookies.drop(request, response, cookies.SESSION)
    return response


def _enter(request: WebRequest, begun: Begun, target: str) -> Response[Any]:
    if begun.session.method is not Method.RECOVERY:
        return entry.enter(request, begun, target)
    # Whoever needed a recovery code has lost something: to where it is set up anew.
    response = go(SECURITY, flash="recovery-used", request=request)
    cookies.set_session(request, response, begun)
    return response


async def _ask(
    request: WebRequest,
    visitor: Visitor,
    parts: Parts,
    *,
    target: str,
    by_passkey: bool = False,
    fault: NotShown | None = None,
) -> Response[str]:
    enrolled, options = await proving.ask(parts, visitor, by_passkey=by_passkey)
    return page(
        request,
        "second.html",
        status=200 if fault is None else fault.status,
        next=target,
        fault=None if fault is None else fault.text,
        enrolled=enrolled,
        passkey_options=options,
    )


HANDLERS = (form_shown, show)
