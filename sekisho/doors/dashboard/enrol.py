"""The first second factor: all that somebody without one can do."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho import factors
from sekisho.doors.dashboard import cookies, enrolling, entry
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import page, words
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Stored
from sekisho.refusal import Obstacle
from sekisho.secret import Secret
from sekisho.sessions import Begun, Method

BASE: Final = "/enrol"

_Done = tuple[Begun, tuple[Secret[str], ...]]


@get(BASE)
async def choice(request: WebRequest, parts: TheParts) -> Response[str]:
    return _choice(request, parts)


@post(f"{BASE}/app")
async def begin_app(visitor: Visiting, parts: TheParts) -> Response[Any]:
    return await enrolling.begin_app(visitor, parts, BASE)


@get(f"{BASE}/app")
async def app_shown(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    return await enrolling.app_shown(request, visitor, parts, BASE)


@post(f"{BASE}/app/code")
async def confirm_app(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)

    def confirm(tx: Connection) -> _Done | Obstacle:
        must_stand(tx, visitor)
        return enrolling.confirm_app(tx, visitor, parts, form) or _complete(tx, visitor, Method.TOTP)

    done: _Done | Obstacle = await store.write(confirm)
    if isinstance(done, Obstacle):
        return await enrolling.app_shown(request, visitor, parts, BASE, fault=done)
    return _codes_shown(request, done)


@post(f"{BASE}/passkey")
async def begin_passkey(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    form = await read_form(request)
    answer = await enrolling.begin_passkey(visitor, parts, form, BASE)
    if isinstance(answer, Obstacle):
        return _choice(request, parts, name=form.text("name"), fault=enrolling.TEXTS[answer])
    return answer


@get(f"{BASE}/passkey")
async def passkey_shown(request: WebRequest, visitor: Visiting) -> Response[Any]:
    return enrolling.passkey_shown(request, visitor, BASE)


@post(f"{BASE}/passkey/answer")
async def confirm_passkey(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)

    def confirm(tx: Connection) -> _Done | Obstacle:
        must_stand(tx, visitor)
        return enrolling.add_passkey(tx, visitor, parts, form) or _complete(tx, visitor, Method.PASSKEY)

    done: _Done | Obstacle = await store.write(confirm)
    if isinstance(done, Obstacle):
        return _choice(request, parts, fault=enrolling.passkey_fault(done))
    return _codes_shown(request, done)


def _complete(tx: Connection, visitor: Visitor, method: Method) -> _Done:
    """The log-in is complete with the first factor: one token more, and the codes that lead back to one."""
    return entry.complete(tx, visitor, method), factors.renew_recovery(tx, visitor.person, by=visitor.by)


def _choice(request: WebRequest, parts: Parts, *, name: str = "", fault: str | None = None) -> Response[str]:
    return page(
        request,
        "enrol.html",
        status=200 if fault is None else 422,
        can_passkeys=enrolling.can_passkeys(parts),
        name=name,
        errors={} if fault is None else {"name": words(request).gettext(fault)},
    )


def _codes_shown(request: WebRequest, done: _Done) -> Response[str]:
    begun, codes = done
    shown = [code.reveal() for code in codes]
    response = page(request, "recovery-codes.html", begun=begun, codes=shown, target="/")
    cookies.set_session(request, response, begun)
    return response


HANDLERS = (choice, begin_app, app_shown, confirm_app, begin_passkey, passkey_shown, confirm_passkey)
