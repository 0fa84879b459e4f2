"""Logging in by name and password, and out."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho import sessions
from sekisho.doors.dashboard import cookies, entry
from sekisho.doors.dashboard.admission import LANDINGS
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import go, own_path, page
from sekisho.doors.dashboard.visitor import Visiting
from sekisho.doors.http.address import counted_as
from sekisho.doors.http.store import Stored
from sekisho.factors import relying_party
from sekisho.languages import N_
from sekisho.sessions import Begun
from sekisho.users.login import TooOften, Wrong

NAME_MAX: Final = 254
PASSWORD_MAX: Final = 1000
"""Characters that are looked at; what is longer is no password of ours."""

WRONG: Final = N_("User name and password do not belong together.")
TOO_OFTEN: Final = N_("Too many tries. Wait a quarter of an hour, then try again.")


@get("/login")
async def form_shown(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[str]:
    target = own_path(request.query_params.get("next", "/"))
    if visitor.session is not None and visitor.user is not None:
        return go(LANDINGS[visitor.session.stage] if not visitor.is_full else target)
    return show_form(request, parts, target)


@post("/login")
async def log_in(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    name, password = form.text("name", NAME_MAX), form.secret("password", PASSWORD_MAX)
    target = own_path(form.raw("next", 4000))
    address = visitor.address
    found = await parts.login.check_password(
        name, password, address=address, counted_as=counted_as(address), now_ms=visitor.now_ms
    )
    match found:
        case Wrong():
            return show_form(request, parts, target, name=name, fault=WRONG, status=422)
        case TooOften():
            response = show_form(request, parts, target, name=name, fault=TOO_OFTEN, status=429)
            response.headers["Retry-After"] = str(found.wait_s)
            return response
    person = found

    def begin(tx: Connection) -> Begun:
        return entry.begin(tx, request, visitor, person)

    return entry.enter(request, await store.write(begin), target)


def show_form(
    request: WebRequest, parts: Parts, target: str, *, name: str = "", fault: str | None = None, status: int = 200
) -> Response[str]:
    """Show the log-in page, with what is wrong."""
    return page(
        request,
        "login.html",
        status=status,
        next=target,
        name=name,
        fault=fault,
        passkeys=relying_party(parts.public_url) is not None,
        opens_accounts=parts.signup_mode == "open",
    )


@post("/logout")
async def log_out(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    session, person = visitor.session, visitor.user
    if session is not None and person is not None and visitor.is_full:
        await store.write(lambda tx: sessions.end(tx, person, session.id, by=visitor.by))
    elif session is not None:
        await store.write(lambda tx: sessions.forget(tx, session))
    response = go("/login", flash="signed-out", request=request)
    cookies.drop(request, response, cookies.SESSION)
    # Whoever uses this browser next starts from nothing.
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


HANDLERS = (form_shown, log_in, log_out)
