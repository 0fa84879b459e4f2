"""The second factor once more, before what could do lasting harm: for ten minutes, and for this browser alone."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho.doors.dashboard import cookies, kept, proving
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest, parts_of
from sekisho.doors.dashboard.entry import step_up
from sekisho.doors.dashboard.forms import Form, read_form
from sekisho.doors.dashboard.pages import go, own_path, page
from sekisho.doors.dashboard.proving import NotShown, prove
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Stored
from sekisho.sessions import Begun

_TEMPLATE: Final = "step-up.html"


@get("/step-up")
async def form_shown(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    target = own_path(request.query_params.get("next", "/"))
    return await _ask(request, visitor, parts, target=target)


async def ask(request: WebRequest, visitor: Visitor, form: Form) -> Response[Any]:
    """Ask in the middle of a form, which is kept and goes on after."""
    parts = parts_of(request)
    path = request.url.path
    sealed = kept.keep(form, visitor.its_session, path, parts.sealer, visitor.now_ms)
    return await _ask(request, visitor, parts, target="/", sealed=sealed, lost=sealed is None)


@post("/step-up")
async def show(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    target = own_path(form.raw("next", 4000))
    sealed = form.raw(kept.FIELD, kept.FIELD_MAX) or None

    if form.raw("by") == "passkey":
        return await _ask(request, visitor, parts, target=target, sealed=sealed, by_passkey=True)

    def show_it(tx: Connection) -> Begun | NotShown:
        must_stand(tx, visitor)
        method = prove(tx, parts, visitor, form)
        return method if isinstance(method, NotShown) else step_up(tx, visitor, method)

    shown: Begun | NotShown = await store.write(show_it)
    if isinstance(shown, NotShown):
        parts.on_failed(visitor.address, visitor.person.tenant_id, visitor.person.id)
        return await _ask(request, visitor, parts, target=target, sealed=sealed, fault=shown)
    path = None if sealed is None else kept.path_of(sealed, visitor.its_session, parts.sealer)
    if path is not None:
        # The browser sends this very form on to where the kept one was meant to go, which takes that up instead.
        response: Response[Any] = Response(
            "", status_code=307, media_type="text/plain", headers={"Location": own_path(path)}
        )
    else:
        response = go(target, flash="stepped-up" if target == "/" else None, request=request)
    cookies.set_session(request, response, shown)
    return response


async def _ask(
    request: WebRequest,
    visitor: Visitor,
    parts: Parts,
    *,
    target: str,
    sealed: str | None = None,
    lost: bool = False,
    by_passkey: bool = False,
    fault: NotShown | None = None,
) -> Response[Any]:
    enrolled, options = await proving.ask(parts, visitor, by_passkey=by_passkey)
    return page(
        request,
        _TEMPLATE,
        status=fault.status if fault is not None else 403 if sealed is not None or lost else 200,
        next=target,
        kept=sealed,
        lost=lost,
        fault=None if fault is None else fault.text,
        enrolled=enrolled,
        passkey_options=options,
    )


HANDLERS = (form_shown, show)
