"""The API put together: routes, the guard before them, bounds, and one shape for every error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import (
    ClientException,
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
    ValidationException,
)
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from sekisho.db import DatabaseUnavailable
from sekisho.domains import Relay
from sekisho.doors.api.admission import Admission, new_request_id
from sekisho.doors.api.caller import caller_of
from sekisho.doors.api.document import describe
from sekisho.doors.api.page import render
from sekisho.doors.api.problems import Problem, declined, invalid, no_json, plain, unavailable, unreadable
from sekisho.doors.api.routes import ROUTES
from sekisho.doors.api.v3 import (
    access_settings,
    api_keys,
    api_keys_stopping,
    audit_log,
    leaked_key,
    mail_send,
    notices,
    reference,
    scope_requests,
    scopes,
    subuser_stats,
    subusers,
    teammates,
    user,
    user_owner,
)
from sekisho.doors.api.v3.mail_body import check_type
from sekisho.doors.api.v3.mail_send import Mailing
from sekisho.doors.api.v3.reference import Description
from sekisho.doors.http.store import NotDone, Overloaded, Store
from sekisho.ports.clock import Clock
from sekisho.queue.bykey import Purge

_log = structlog.get_logger()

BODY_MAX_BYTES: Final = 1 << 20
"""Of every route but mail/send; the largest honest one is a list of 1,000 addresses."""

HANDLERS: Final[tuple[HTTPRouteHandler, ...]] = (
    *access_settings.HANDLERS,
    *api_keys.HANDLERS,
    *api_keys_stopping.HANDLERS,
    *audit_log.HANDLERS,
    *leaked_key.HANDLERS,
    *mail_send.HANDLERS,
    *notices.HANDLERS,
    *reference.HANDLERS,
    *scope_requests.HANDLERS,
    *scopes.HANDLERS,
    *subuser_stats.HANDLERS,
    *subusers.HANDLERS,
    *teammates.HANDLERS,
    *user.HANDLERS,
    *user_owner.HANDLERS,
)

_ESCAPED_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""Where JSON writes a NUL; it must not stand there itself."""

ApiRequest = Request[Any, Any, State]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers are given, each by name."""

    admission: Admission
    store: Store
    """Control data."""
    event_store: Store
    clock: Clock
    relay: Relay
    spool: Path
    """The spool's directory."""
    purging: Purge
    mailing: Mailing


def build(parts: Parts) -> ASGIApp:
    """Put the application together; raises ValueError when a route has no row in ROUTES, or a row no route."""
    return _Envelope(_routed(), parts)


@cache
def _routed() -> Litestar:
    """Make what finds a request's handler, once for a process: the parts come with each request."""
    app = Litestar(
        route_handlers=HANDLERS,
        guards=[_admit],
        before_request=_strictly,
        dependencies={
            "caller": Provide(caller_of, sync_to_thread=False),
            "store": _given("store"),
            "event_store": _given("event_store"),
            "clock": _given("clock"),
            "relay": _given("relay"),
            "spool": _given("spool"),
            "purging": _given("purging"),
            "mailing": _given("mailing"),
            "description": Provide(_description, sync_to_thread=False),
        },
        # By status 500 too: it is what the framework makes of everything that is not an HTTPException.
        exception_handlers={Exception: _on_exception, HTTPException: _on_exception, Problem: _on_exception},
        request_max_body_size=BODY_MAX_BYTES,
        openapi_config=None,
        logging_config=None,
    )
    _compare(app)
    return app


async def _admit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    parts: Parts = connection.scope["state"]["parts"]
    await parts.admission(connection, handler)


def _given(name: str) -> Provide:
    """Hand a handler one of the parts."""

    def give(request: ApiRequest) -> Any:
        return getattr(request.scope["state"]["parts"], name)

    return Provide(give, sync_to_thread=False)


@cache
def _description() -> Description:
    """Made once for a process, when somebody asks for it first."""
    document = describe(HANDLERS)
    return Description(encode(document), render(document).encode())


def _compare(app: Litestar) -> None:
    served = {(method, route.path_format) for route in app.routes for method in route.methods if method != "OPTIONS"}
    if served != ROUTES.keys():
        message = f"routes without a row, or rows without a route: {sorted(served ^ ROUTES.keys())}"
        raise ValueError(message)


async def _strictly(request: ApiRequest) -> None:
    """Refuse what no route takes; read the body once more, as strictly as JSON is.

    The framework takes ``"5"`` for 5, ``"null"`` for null. No text of ours has a NUL in it, and PostgreSQL takes none.
    """
    if any("\0" in str(value) for value in request.path_params.values()):
        raise plain(404)
    for name, value in request.query_params.multi_items():
        if "\0" in name or "\0" in value:
            raise invalid("a parameter must not contain NUL", name.replace("\0", ""))
    field = request.route_handler.parsed_data_field
    if field is None:
        return
    body = await request.body()
    if body:
        check_type(request.headers.get("content-type", ""))
        try:
            # First as text: what is skipped in a body is not looked at by msgspec.
            msgspec.json.decode(body.decode(), type=field.annotation)
            if _ESCAPED_NUL.search(body):
                raise invalid("a text must not contain NUL", None)
        except msgspec.ValidationError as error:
            raise unreadable(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise no_json() from error


def _on_exception(request: ApiRequest, error: Exception) -> Response[bytes]:
    answer = _problem(request, error)
    return Response(answer.body, status_code=answer.status, media_type="application/json", headers={**answer.headers})


def _problem(request: ApiRequest, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case NotDone():
            return declined(error.declined, error.field)
        case DatabaseUnavailable() | Overloaded():
            return unavailable()
        case InternalServerException(detail="client disconnected prematurely"):
            # Nobody hears it, and nothing is wrong here.
            return plain(400)
        case ValidationException():
            cause = error.__cause__
            return unreadable(str(cause) if isinstance(cause, msgspec.ValidationError) else error.detail)
        case MethodNotAllowedException():
            return plain(405, {"Allow": (error.headers or {}).get("allow", "")})
        case NotFoundException():
            return plain(404)
        case ClientException() if isinstance(error.__cause__, SerializationException) or error.status_code == 400:
            return invalid("Bad Request", None)
        case HTTPException() if error.status_code < 500:
            return plain(error.status_code)
    _log.error(
        "api.fault",
        request=request.scope["state"].get("request_id"),
        route=request.scope.get("path_template"),
        exc_info=error,
    )
    return plain(500)


class _Envelope:
    """What every answer has, and the log line of every request, around the framework."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._clock = parts.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            return
        state: dict[str, Any] = {"request_id": new_request_id(), "headers": {}, "parts": self._parts}
        scope["state"] = state
        begun_s = self._clock.monotonic()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with(message["headers"], _headers(state))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            _log_request(scope, state, status, self._clock.monotonic() - begun_s)


_ALWAYS: Final[Sequence[tuple[bytes, bytes]]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def _with(own: Iterable[tuple[bytes, bytes]], more: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Put what every answer has behind what this one has; its own word counts."""
    kept = list(own)
    names = {name for name, _ in kept}
    return [*kept, *(header for header in more if header[0] not in names)]


def _headers(state: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    extra = [(name.lower().encode(), value.encode()) for name, value in state["headers"].items()]
    return [*_ALWAYS, (b"x-request-id", state["request_id"].encode()), *extra]


def _log_request(scope: Scope, state: dict[str, Any], status: int, took_s: float) -> None:
    identity = state.get("identity")
    _log.info(
        "api.request",
        request=state["request_id"],
        method=scope.get("method"),
        route=scope.get("path_template"),
        status=status,
        ms=round(took_s * 1000, 1),
        address=str(state["address"]) if "address" in state else None,
        key=None if identity is None else identity.key_id,
        account=None if identity is None else identity.sender_id,
    )


def encode(document: object) -> bytes:
    """Print a document as JSON."""
    return msgspec.json.encode(document)
