"""The second factors of whoever is logged in: which there are, one more, one less, new recovery codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho import factors, oidc
from sekisho.doors.dashboard import enrolling
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Stored
from sekisho.factors import Enrolled, Passkey
from sekisho.refusal import Obstacle
from sekisho.secret import Secret

T = TypeVar("T")

BASE: Final = "/security"

_ID_DIGITS_MAX: Final = 18


@get(BASE)
async def listing(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[str]:
    return await _listing(request, visitor, parts)


@post(f"{BASE}/app")
async def begin_app(visitor: Visiting, parts: TheParts) -> Response[Any]:
    return await enrolling.begin_app(visitor, parts, BASE)


@get(f"{BASE}/app")
async def app_shown(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    return await enrolling.app_shown(request, visitor, parts, BASE)


@post(f"{BASE}/app/code")
async def confirm_app(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    confirm: Callable[[Connection], Obstacle | None] = _standing(
        visitor, lambda tx: enrolling.confirm_app(tx, visitor, parts, form)
    )
    fault = await store.write(confirm)
    if fault is not None:
        return await enrolling.app_shown(request, visitor, parts, BASE, fault=fault)
    return go(BASE, flash="app-added", request=request)


@post(f"{BASE}/app/remove")
async def remove_app(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    remove: Callable[[Connection], Obstacle | None] = _standing(
        visitor, lambda tx: enrolling.why(factors.remove_totp(tx, visitor.person, by=visitor.by))
    )
    return await _removed(request, visitor, parts, await store.write(remove))


@post(f"{BASE}/passkey")
async def begin_passkey(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    form = await read_form(request)
    answer = await enrolling.begin_passkey(visitor, parts, form, BASE)
    if isinstance(answer, Obstacle):
        fault = enrolling.TEXTS[answer]
        return await _listing(request, visitor, parts, name=form.text("name"), name_fault=fault)
    return answer


@get(f"{BASE}/passkey")
async def passkey_shown(request: WebRequest, visitor: Visiting) -> Response[Any]:
    return enrolling.passkey_shown(request, visitor, BASE)


@post(f"{BASE}/passkey/answer")
async def confirm_passkey(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    confirm: Callable[[Connection], Obstacle | None] = _standing(
        visitor, lambda tx: enrolling.add_passkey(tx, visitor, parts, form)
    )
    fault = await store.write(confirm)
    if fault is not None:
        return await _listing(request, visitor, parts, fault=enrolling.passkey_fault(fault))
    return go(BASE, flash="passkey-added", request=request)


@post(f"{BASE}/passkey/remove")
async def remove_passkey(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    digits = form.text("passkey", _ID_DIGITS_MAX)
    number = int(digits) if digits.isascii() and digits.isdecimal() else 0
    remove: Callable[[Connection], Obstacle | None] = _standing(
        visitor, lambda tx: enrolling.why(factors.remove_passkey(tx, visitor.person, number, by=visitor.by))
    )
    return await _removed(request, visitor, parts, await store.write(remove))


@post(f"{BASE}/recovery")
async def renew_recovery(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    renew: Callable[[Connection], tuple[Secret[str], ...]] = _standing(
        visitor, lambda tx: factors.renew_recovery(tx, visitor.person, by=visitor.by)
    )
    codes = await store.write(renew)
    return page(request, "recovery-codes.html", codes=[code.reveal() for code in codes], target=BASE)


@post(f"{BASE}/oidc/unlink")
async def unlink(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    client = parts.oidc
    if client is None:
        raise PageProblem(404)
    issuer = client.registration.issuer
    await store.write(_standing(visitor, lambda tx: oidc.unlink(tx, visitor.person, issuer, by=visitor.by)))
    return go(BASE, flash="oidc-unlinked", request=request)


def _standing(visitor: Visitor, act: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """Make of an action one that asks first whether the visitor is still let in, in the same transaction."""

    def both(tx: Connection) -> T:
        must_stand(tx, visitor)
        return act(tx)

    return both


async def _removed(request: WebRequest, visitor: Visitor, parts: Parts, fault: Obstacle | None) -> Response[Any]:
    if fault is not None:
        return await _listing(request, visitor, parts, fault=enrolling.TEXTS[fault])
    return go(BASE, flash="factor-removed", request=request)


async def _listing(
    request: WebRequest,
    visitor: Visitor,
    parts: Parts,
    *,
    name: str = "",
    name_fault: str | None = None,
    fault: str | None = None,
) -> Response[str]:
    number = visitor.person.id

    client = parts.oidc

    def look(tx: Connection) -> tuple[Enrolled, int | None, tuple[Passkey, ...], bool]:
        is_linked = client is not None and oidc.is_linked(tx, number, client.registration.issuer)
        return factors.enrolled(tx, number), factors.totp_since(tx, number), factors.passkeys_of(tx, number), is_linked

    enrolled, totp_since, passkeys, is_linked = await parts.store.read(look)
    return page(
        request,
        "security.html",
        status=200 if fault is None and name_fault is None else 422,
        enrolled=enrolled,
        totp_since=totp_since,
        passkeys=passkeys,
        is_linked=is_linked,
        can_passkeys=enrolling.can_passkeys(parts),
        name=name,
        fault=fault,
        errors={} if name_fault is None else {"name": words(request).gettext(name_fault)},
    )


HANDLERS = (
    listing,
    begin_app,
    app_shown,
    confirm_app,
    remove_app,
    begin_passkey,
    passkey_shown,
    confirm_passkey,
    remove_passkey,
    renew_recovery,
    unlink,
)
