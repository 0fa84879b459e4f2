"""The dashboard put together: pages, what stands before them, bounds, and the shape of every error."""

from __future__ import annotations

import http
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import structlog
from litestar import Litestar, Response
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from sekisho.db import DatabaseUnavailable
from sekisho.doors.dashboard import (
    account,
    acting,
    auditlog,
    cookies,
    enrol,
    home,
    invitations,
    ipaccess,
    keys,
    keystopping,
    login,
    notices,
    oidc,
    passkeylogin,
    second,
    security,
    sessions,
    static,
    stepup,
    subusers,
    teammates,
    ways,
)
from sekisho.doors.dashboard.admission import Admission
from sekisho.doors.dashboard.deps import Parts, WebRequest, parts_of
from sekisho.doors.dashboard.forms import FORM_MAX_BYTES
from sekisho.doors.dashboard.pages import go, page
from sekisho.doors.dashboard.places import PLACES
from sekisho.doors.dashboard.problems import PageProblem, SessionOver
from sekisho.doors.dashboard.visitor import visitor_of
from sekisho.doors.http.requestid import new_request_id
from sekisho.doors.http.store import NotDone, Overloaded, Store
from sekisho.languages import N_
from sekisho.users import HasherBusy

_log = structlog.get_logger()

HANDLERS: Final[tuple[HTTPRouteHandler, ...]] = (
    *account.HANDLERS,
    *acting.HANDLERS,
    *auditlog.HANDLERS,
    *enrol.HANDLERS,
    *home.HANDLERS,
    *invitations.HANDLERS,
    *ipaccess.HANDLERS,
    *keys.HANDLERS,
    *keystopping.HANDLERS,
    *login.HANDLERS,
    *notices.HANDLERS,
    *oidc.HANDLERS,
    *passkeylogin.HANDLERS,
    *second.HANDLERS,
    *security.HANDLERS,
    *sessions.HANDLERS,
    *static.HANDLERS,
    *stepup.HANDLERS,
    *subusers.HANDLERS,
    *teammates.HANDLERS,
    *ways.HANDLERS,
)

RETRY_AFTER_S: Final = 5

TITLES: Final = {
    400: N_("This request cannot be understood"),
    403: N_("You may not do this"),
    404: N_("There is no such page"),
    405: N_("This page cannot be asked for in this way"),
    409: N_("This was not done"),
    413: N_("This is too much"),
    415: N_("This request cannot be understood"),
    422: N_("This was not done"),
    429: N_("Too often"),
    500: N_("Something went wrong here"),
    503: N_("Not now"),
}

TEXTS: Final = {
    400: N_("Your browser sent something that this site does not understand."),
    403: N_("Ask an owner or admin of the account for the right to do it."),
    404: N_("The address may be wrong, or what it named is gone."),
    405: N_("Go back and use the links and buttons of the pages."),
    409: N_("Something has changed meanwhile. Go back, reload the page, try again."),
    413: N_("What you sent is too large."),
    415: N_("Pages take forms only."),
    422: N_("Go back and change what you typed."),
    429: N_("Wait a while, then try again."),
    500: N_("It was written down. Try again; whoever runs this server can find it by the number below."),
    503: N_("The server is busy, or its database cannot be reached. Try again in a moment."),
}


def build(parts: Parts) -> ASGIApp:
    """Put the application together; raises ValueError when a page has no row in PLACES, or a row no page."""
    return _Envelope(_routed(), parts)


@cache
def _routed() -> Litestar:
    """Make what finds a request's handler, once for a process: the parts come with each request."""
    app = Litestar(
        route_handlers=HANDLERS,
        before_request=_admit,
        dependencies={
            "visitor": Provide(visitor_of, sync_to_thread=False),
            "parts": Provide(parts_of, sync_to_thread=False),
            "store": Provide(_store, sync_to_thread=False),
            "event_store": Provide(_event_store, sync_to_thread=False),
        },
        # By status 500 too: it is what the framework makes of everything that is not an HTTPException.
        exception_handlers={Exception: _on_exception, HTTPException: _on_exception},
        request_max_body_size=FORM_MAX_BYTES,
        openapi_config=None,
        logging_config=None,
    )
    _compare(app)
    return app


async def _admit(request: WebRequest) -> Response[Any] | None:
    return await Admission(parts_of(request))(request)


def _store(request: WebRequest) -> Store:
    return parts_of(request).store


def _event_store(request: WebRequest) -> Store:
    return parts_of(request).event_store


def _compare(app: Litestar) -> None:
    served = {(method, route.path_format) for route in app.routes for method in route.methods if method != "OPTIONS"}
    if served != PLACES.keys():
        message = f"pages without a row, or rows without a page: {sorted(served ^ PLACES.keys())}"
        raise ValueError(message)


def _on_exception(request: WebRequest, error: Exception) -> Response[Any]:
    if isinstance(error, SessionOver):
        response = go("/login")
        cookies.drop(request, response, cookies.SESSION)
        return response
    problem = _problem(request, error)
    answer = page(
        request,
        "error.html",
        status=problem.status,
        title=TITLES.get(problem.status) or http.HTTPStatus(problem.status).phrase,
        text=problem.text or TEXTS.get(problem.status, ""),
        request_id=request.scope["state"]["request_id"] if problem.status >= 500 else None,
    )
    if problem.status in {429, 503}:
        answer.headers["Retry-After"] = str(problem.retry_after_s or RETRY_AFTER_S)
    allow = (error.headers or {}).get("allow") if isinstance(error, HTTPException) else None
    if allow is not None:
        answer.headers["Allow"] = allow
    return answer


def _problem(request: WebRequest, error: Exception) -> PageProblem:
    match error:
        case PageProblem():
            return error
        case NotDone():
            # A page that can say more catches it; this is the net.
            return PageProblem(409)
        case DatabaseUnavailable() | Overloaded() | HasherBusy():
            return PageProblem(503)
        case InternalServerException(detail="client disconnected prematurely"):
            # Nobody hears it, and nothing is wrong here.
            return PageProblem(400)
        case HTTPException() if error.status_code < 500:
            return PageProblem(error.status_code)
    # As below: never the path itself.
    route, number = request.scope.get("path_template"), request.scope["state"]["request_id"]
    _log.error("dashboard.fault", request=number, route=route, exc_info=error)
    return PageProblem(500)


class _Envelope:
    """What every answer has, and the log line of every request, around the framework."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._always = always(parts.form_targets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            return
        state: dict[str, Any] = {"request_id": new_request_id(), "parts": self._parts}
        scope["state"] = state
        begun_s = self._parts.clock.monotonic()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with(message["headers"], (*self._always, (b"x-request-id", _id(state))))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            _log_request(scope, state, status, self._parts.clock.monotonic() - begun_s)


def always(form_targets: Iterable[str]) -> tuple[tuple[bytes, bytes], ...]:
    """List the header fields of every answer; ``form_targets`` are origins that forms may lead to beside our own."""
    targets = " ".join(("'self'", *form_targets))
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
    )
    return (
        (b"cache-control", b"no-store"),
        (b"content-security-policy", policy.encode()),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        # Links of letters have a token in them. Not "no-referrer": browsers then hide where forms come from.
        (b"referrer-policy", b"same-origin"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
    )


def _id(state: dict[str, Any]) -> bytes:
    found: str = state["request_id"]
    return found.encode()


def _with(own: Iterable[tuple[bytes, bytes]], more: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Put what every answer has behind what this one has; its own word counts."""
    kept = list(own)
    names = {name for name, _ in kept}
    return [*kept, *(header for header in more if header[0] not in names)]


def _log_request(scope: Scope, state: dict[str, Any], status: int, took_s: float) -> None:
    visitor = state.get("visitor")
    user = None if visitor is None else visitor.user
    _log.info(
        "dashboard.request",
        request=state["request_id"],
        method=scope.get("method"),
        # The template, never the path: a link's token is part of that.
        route=scope.get("path_template"),
        status=status,
        ms=round(took_s * 1000, 1),
        address=str(state["address"]) if "address" in state else None,
        user=None if user is None else user.id,
        account=None if visitor is None or visitor.tenant is None else visitor.tenant.id,
    )
