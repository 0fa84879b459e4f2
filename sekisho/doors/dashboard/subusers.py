"""Subusers: make, find, disable, let in, limit, act for, delete."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import accounts, teammates
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.credits import TOTAL_MAX, Credits, Reset, next_reset
from sekisho.db import DatabaseUnavailable
from sekisho.doors.dashboard import newpassword
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import Form, read_form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Overloaded, Store, Stored
from sekisho.policy.closing import delete_subuser
from sekisho.policy.opening import open_subuser
from sekisho.queue.credits import Left, add_to_remaining, left
from sekisho.refusal import Declined, Obstacle
from sekisho.users import Weakness

CREDITS_READ: Final = "subusers.credits.read"

_SHOWN: Final = 100
_NAME_MAX: Final = 64
_EMAIL_MAX: Final = 254
_PAGES_MAX: Final = 100_000

_FIELDS: Final = {
    Obstacle.ACCOUNT_MALFORMED: "username",
    Obstacle.ACCOUNT_TAKEN: "username",
    Obstacle.USERNAME_MALFORMED: "username",
    Obstacle.USERNAME_TAKEN: "username",
    Obstacle.EMAIL_MALFORMED: "email",
}


@get("/subusers")
async def listed(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    wanted = request.query_params.get("name", "").strip()[:_NAME_MAX]
    number = _page_number(request.query_params.get("page", "1"))
    parent = visitor.for_whom.id

    def look(tx: Connection) -> tuple[tuple[Account, ...], int]:
        return accounts.search_subusers(tx, parent, matching=wanted or None, limit=_SHOWN, offset=(number - 1) * _SHOWN)

    found, total = await store.read(look)
    return page(
        request,
        "subusers.html",
        subusers=found,
        total=total,
        wanted=wanted,
        before=_address(wanted, number - 1) if number > 1 else None,
        after=_address(wanted, number + 1) if number * _SHOWN < total else None,
    )


@get("/subusers/new")
async def new(request: WebRequest) -> Response[str]:
    return page(request, "subuser-form.html", username="", email="", fault=None)


@post("/subusers")
async def create(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[str]:
    form = await read_form(request)
    username, email = form.text("username", _EMAIL_MAX), form.text("email", _EMAIL_MAX)
    digest = await newpassword.digest_of(parts, form, (username, email, visitor.for_whom.name))
    if isinstance(digest, Weakness):
        return _new_again(request, username, email, "password", newpassword.WEAK[digest])

    def make(tx: Connection) -> Account | Declined:
        must_stand(tx, visitor)
        return open_subuser(tx, visitor.for_whom, name=username, email=email, password=digest, by=visitor.by)

    made = await store.attempt(make)
    if isinstance(made, Declined):
        return _new_again(request, username, email, _FIELDS.get(made.obstacle), sentence(made))
    return go(_path(made.name), flash="subuser-made", request=request)


@get("/subusers/{name:str}")
async def one(request: WebRequest, visitor: Visiting, parts: TheParts, name: FromPath[str]) -> Response[str]:
    return await _one(request, visitor, parts, name)


@post("/subusers/{name:str}/disable")
async def disable(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    return await _switch(request, visitor, store, name, "subuser-disabled", accounts.disable)


@post("/subusers/{name:str}/enable")
async def enable(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    return await _switch(request, visitor, store, name, "subuser-enabled", accounts.enable)


@post("/subusers/{name:str}/website-access")
async def website_access(request: WebRequest, visitor: Visiting, store: Stored, name: FromPath[str]) -> Response[str]:
    disabled = (await read_form(request)).text("access", 10) != "yes"

    def switch(tx: Connection, subuser: Account, *, by: By) -> Account:
        return accounts.switch_website(tx, subuser, disabled=disabled, by=by)

    return await _switch(request, visitor, store, name, "subuser-access", switch)


@post("/subusers/{name:str}/credits")
async def grant(
    request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored, name: FromPath[str]
) -> Response[str]:
    form = await read_form(request)
    wanted = _grant(form)
    if wanted is None:
        text = words(request).gettext("Write a whole number from 1 to %(most)s.") % {"most": TOTAL_MAX}
        return await _one(request, visitor, parts, name, errors={"total": text}, form=form)

    def act(tx: Connection) -> Account:
        must_stand(tx, visitor)
        subuser = _find(tx, visitor, name)
        return accounts.grant_credits(tx, subuser, wanted.of(subuser, visitor.now_ms), by=visitor.by)

    after = await store.write(act)
    return go(_path(after.name), flash="subuser-credits", request=request)


@post("/subusers/{name:str}/credits/add")
async def add_credits(
    request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored, name: FromPath[str]
) -> Response[str]:
    form = await read_form(request)
    text = form.text("difference", 20)
    if not re.fullmatch(r"[+-]?[0-9]{1,13}", text, re.ASCII) or abs(int(text)) > TOTAL_MAX:
        said = words(request).gettext("Write a whole number such as 500, or -500 to take away.")
        return await _one(request, visitor, parts, name, errors={"difference": said}, form=form)

    def act(tx: Connection) -> Account | Declined:
        must_stand(tx, visitor)
        return add_to_remaining(tx, parts.spool, _find(tx, visitor, name), int(text), by=visitor.by)

    after = await store.attempt(act)
    if isinstance(after, Declined):
        said = words(request).gettext(sentence(after))
        return await _one(request, visitor, parts, name, errors={"difference": said}, form=form)
    return go(_path(after.name), flash="subuser-credits", request=request)


@post("/subusers/{name:str}/delete")
async def remove(
    request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored, name: FromPath[str]
) -> Response[str]:
    form = await read_form(request)
    typed = form.text("typed", _EMAIL_MAX)

    def act(tx: Connection) -> bool:
        must_stand(tx, visitor)
        subuser = _find(tx, visitor, name)
        if typed != subuser.name:
            return False
        delete_subuser(tx, subuser, relay=parts.relay, by=visitor.by)
        return True

    if not await store.write(act):
        text = words(request).gettext("This is not the name of the subuser. Nothing was deleted.")
        return await _one(request, visitor, parts, name, errors={"typed": text}, form=form)
    return go("/subusers", flash="subuser-deleted", request=request)


HANDLERS = (listed, new, create, one, disable, enable, website_access, grant, add_credits, remove)


def _find(tx: Connection, visitor: Visitor, name: str) -> Account:
    """Find the account's subuser; one that never was and somebody else's are equally not found."""
    found = accounts.find_subuser_of(tx, visitor.for_whom.id, name)
    if found is None:
        raise PageProblem(404)
    return found


async def _switch(  # noqa: PLR0917
    request: WebRequest,
    visitor: Visitor,
    store: Store,
    name: str,
    flash: str,
    act: Callable[..., Account],
) -> Response[str]:
    def switch(tx: Connection) -> Account:
        must_stand(tx, visitor)
        return act(tx, _find(tx, visitor, name), by=visitor.by)

    after = await store.write(switch)
    return go(_path(after.name), flash=flash, request=request)


async def _one(
    request: WebRequest,
    visitor: Visitor,
    parts: Parts,
    name: str,
    *,
    errors: dict[str, str] | None = None,
    form: Form | None = None,
) -> Response[str]:
    """Show a subuser; with what is wrong with a form, which is shown as it was typed."""

    def look(tx: Connection) -> tuple[Account, bool]:
        subuser = _find(tx, visitor, name)
        return subuser, teammates.may_act_for(tx, visitor.person, subuser) is not None

    subuser, may_act = await parts.store.read(look)
    granted = subuser.credits
    remaining: Left | None = None
    if granted is not None and visitor.may(CREDITS_READ):
        try:
            remaining = await parts.store.in_thread(lambda: left(parts.spool, granted, visitor.now_ms))
        except (DatabaseUnavailable, Overloaded):
            remaining = None
    context: dict[str, Any] = {"errors": errors} if errors else {}
    return page(
        request,
        "subuser.html",
        status=422 if errors else 200,
        subuser=subuser,
        path=_path(subuser.name),
        may_act=may_act and not visitor.acts_for_another,
        shows_credits=visitor.may(CREDITS_READ),
        remaining=remaining,
        anew=None if granted is None else next_reset(granted, visitor.now_ms),
        typed=_typed(granted, form),
        **context,
    )


def _typed(granted: Credits | None, form: Form | None) -> dict[str, str]:
    """Fill the form of credits: as it was typed, else with what there is."""
    if form is not None and form.text("kind", 20):
        return {"kind": form.text("kind", 20), "total": form.text("total", 20), "difference": ""}
    kind = "unlimited" if granted is None else "once" if granted.reset is None else granted.reset.value
    difference = "" if form is None else form.text("difference", 20)
    return {"kind": kind, "total": "" if granted is None else str(granted.total), "difference": difference}


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a form of credits comes to."""

    total: int | None
    """None: unlimited."""
    reset: Reset | None

    def of(self, subuser: Account, now_ms: int) -> Credits | None:
        return None if self.total is None else Credits(subuser.id, self.total, self.reset, now_ms)


def _grant(form: Form) -> _Grant | None:
    """Read the form; None: the number is none. Raises PageProblem for what no page of ours sent."""
    kind, text = form.text("kind", 20), form.text("total", 20)
    if kind == "unlimited":
        return _Grant(None, None)
    try:
        reset = None if kind == "once" else Reset(kind)
    except ValueError:
        raise PageProblem(400) from None
    if not re.fullmatch(r"[0-9]{1,13}", text, re.ASCII) or not 1 <= int(text) <= TOTAL_MAX:
        return None
    return _Grant(int(text), reset)


def _new_again(request: WebRequest, username: str, email: str, field: str | None, text: str) -> Response[str]:
    said = words(request).gettext(text)
    errors = {} if field is None else {field: said}
    fault = said if field is None else None
    return page(request, "subuser-form.html", status=422, username=username, email=email, errors=errors, fault=fault)


def _path(name: str) -> str:
    return f"/subusers/{quote(name, safe='')}"


def _page_number(text: str) -> int:
    return max(1, min(_PAGES_MAX, int(text))) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else 1


def _address(wanted: str, number: int) -> str:
    asked = {"name": wanted} if wanted else {}
    return "/subusers?" + urlencode({**asked, "page": number})
