"""Logging in by the word of the operator's OpenID Provider, and linking a log-in here with one there.

What a journey there must remember is sealed in a cookie, so that beginning one changes nothing and may be a link.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import secrets
from typing import Any, Final
from urllib.parse import quote

import msgspec
import structlog
from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho import factors, oidc
from sekisho.doors.dashboard import cookies, entry
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest, parts_of
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.login import show_form
from sekisho.doors.dashboard.pages import go, own_path, page
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Stored
from sekisho.languages import N_
from sekisho.oidc import Client, Journey, Linked, Outsider, Trouble
from sekisho.sealing import SealBroken
from sekisho.secret import Secret
from sekisho.sessions import Begun, Method, Stage

_log = structlog.get_logger()

LINK: Final = "/login/oidc/link"

_COOKIE: Final = "oidc"
_COOKIE_MAX: Final = 3000
_NEXT_MAX: Final = 1000
_OFFER_MS: Final = 15 * 60_000
_OFFER_MAX: Final = 2000
_PURPOSE: Final = "oidc link"

FAILED: Final = N_("The other site did not let you in. Try again, or log in by password.")
NOBODY: Final = N_("Nobody here has the verified address that the other site knows you by. Log in by password.")
OUT_OF_DATE: Final = N_("This offer is out of date. Log in through the other site again.")


class _Offer(msgspec.Struct, frozen=True):
    """To link one person with one of the provider's, made for whom it let in; sealed in the address of the page."""

    subject: str
    user_id: int
    until_ms: int


@get("/login/oidc")
async def leave(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    client = _client(parts)
    target = own_path(request.query_params.get("next", "/"))
    journey = Journey.begin(
        secrets.token_bytes(96),
        next_path=target if len(target) <= _NEXT_MAX else "/",
        language=visitor.language.value,
        now_ms=visitor.now_ms,
    )
    address = await client.address(journey)
    if isinstance(address, Trouble):
        return _failed(request, address, target)
    response = go(address)
    lives_s = (journey.until_ms - visitor.now_ms) // 1000
    cookies.set_cookie(request, response, _COOKIE, journey.sealed(parts.sealer), max_age_s=lives_s)
    return response


@get("/login/oidc/callback")
async def come_back(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    client = _client(parts)
    cookie = request.cookies.get(cookies.name_of(request, _COOKIE), "")
    journey = oidc.unseal(cookie, parts.sealer, now_ms=visitor.now_ms) if len(cookie) <= _COOKIE_MAX else None
    if journey is None:
        return _failed(request, Trouble("the browser remembers no request, or it took too long"), "/")
    outsider = await client.finish(journey, dict(request.query_params))
    if isinstance(outsider, Trouble):
        return _failed(request, outsider, journey.next)
    found = await store.write(lambda tx: _begin(tx, request, visitor, parts, outsider))
    if found is None:
        parts.on_failed(visitor.address, None, None)
        response: Response[Any] = show_form(request, parts, journey.next, fault=NOBODY, status=422)
    else:
        linked, begun = found
        target = journey.next if not linked.by_address else _offer(parts, linked, outsider, visitor.now_ms)
        response = entry.enter(request, begun, target)
    cookies.drop(request, response, _COOKIE)
    return response


@get(LINK)
async def offered(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[str]:
    offer = request.query_params.get("offer", "")
    _taken(parts, visitor, offer)
    return page(request, "oidc-link.html", offer=offer, name=_client(parts).registration.name)


@post(LINK)
async def link(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    offer = _taken(parts, visitor, form.raw("offer", _OFFER_MAX))
    issuer = _client(parts).registration.issuer

    def change(tx: Connection) -> bool:
        must_stand(tx, visitor)
        return oidc.link(tx, visitor.person, issuer, offer.subject, by=visitor.by)

    if not await store.write(change):
        raise PageProblem(409)
    return go("/")


def _begin(
    tx: Connection, request: WebRequest, visitor: Visitor, parts: Parts, outsider: Outsider
) -> tuple[Linked, Begun] | None:
    """Take the provider's word as a first factor, and as the second only of somebody who has linked himself."""
    linked = oidc.find(tx, outsider)
    if linked is None:
        return None
    begun = entry.begin(tx, request, visitor, linked.user)
    counted = _client(parts).registration.second_factors
    is_enough = not linked.by_address and oidc.has_second_factor(outsider.methods, counted)
    # Who has no second factor here enrols one, whatever was shown elsewhere: step-up needs it.
    if is_enough and begun.session.stage is Stage.PASSWORD and factors.enrolled(tx, linked.user.id).is_any:
        known = dataclasses.replace(visitor, session=begun.session, user=linked.user)
        begun = entry.complete(tx, known, Method.OIDC)
    return linked, begun


def _client(parts: Parts) -> Client:
    if parts.oidc is None:
        raise PageProblem(404)
    return parts.oidc


def _failed(request: WebRequest, trouble: Trouble, target: str) -> Response[Any]:
    _log.warning("oidc.failed", request=request.scope["state"]["request_id"], reason=trouble.reason)
    response = show_form(request, parts_of(request), target, fault=FAILED, status=422)
    cookies.drop(request, response, _COOKIE)
    return response


def _offer(parts: Parts, linked: Linked, outsider: Outsider, now_ms: int) -> str:
    offer = _Offer(outsider.subject, linked.user.id, now_ms + _OFFER_MS)
    sealed = parts.sealer.seal(Secret(msgspec.json.encode(offer)), purpose=_PURPOSE, row="")
    return f"{LINK}?offer={quote(base64.urlsafe_b64encode(sealed).decode())}"


def _taken(parts: Parts, visitor: Visitor, offer: str) -> _Offer:
    """Read an offer that was made to this very person a moment ago; raises PageProblem."""
    try:
        sealed = base64.urlsafe_b64decode(offer[:_OFFER_MAX])
        plain = parts.sealer.open(sealed, purpose=_PURPOSE, row="")
        found = msgspec.json.decode(plain.reveal(), type=_Offer)
    except (binascii.Error, ValueError, SealBroken, msgspec.DecodeError):
        raise PageProblem(422, OUT_OF_DATE) from None
    if found.user_id != visitor.person.id or not visitor.now_ms < found.until_ms:
        raise PageProblem(422, OUT_OF_DATE)
    return found


HANDLERS = (leave, come_back, offered, link)
