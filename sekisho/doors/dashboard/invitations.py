"""Inviting people by mail, and what comes of it until they are teammates; what teammates ask for."""

from __future__ import annotations

import re
from typing import Final

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import teammates
from sekisho.doors.dashboard import rightsform
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.rightsform import RightsForm
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Stored
from sekisho.refusal import Declined, Obstacle
from sekisho.teammates import Asked, Invitation
from sekisho.users import User

_EMAIL_MAX: Final = 254

_FIELDS: Final = {
    Obstacle.EMAIL_MALFORMED: "email",
    Obstacle.TEAMMATE_TAKEN: "email",
    Obstacle.SUBUSER_UNKNOWN: "names",
    Obstacle.SCOPE_UNKNOWN: "access",
    Obstacle.SCOPE_UNASSIGNABLE: "access",
    Obstacle.RIGHTS_MALFORMED: "access",
}
"""Where on the form a reason stands."""


@get("/invitations/new")
async def new(request: WebRequest, visitor: Visiting) -> Response[str]:
    return _form(request, visitor, "", RightsForm())


@post("/invitations")
async def invite(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    form = await read_form(request)
    email, typed = form.text("email", _EMAIL_MAX), rightsform.read(form)

    def act(tx: Connection) -> Invitation | Declined:
        must_stand(tx, visitor)
        tenant = visitor.for_whom
        rights = rightsform.invited(tx, tenant, typed)
        if isinstance(rights, Declined):
            return rights
        language = visitor.language.value
        return teammates.invite(tx, tenant, email, rights, granter=visitor.identity, language=language, by=visitor.by)

    made = await store.attempt(act)
    if isinstance(made, Declined):
        return _form(request, visitor, email, typed, made)
    return go("/teammates", flash="teammate-invited", request=request)


@post("/invitations/{token:str}/resend")
async def resend(request: WebRequest, visitor: Visiting, store: Stored, token: FromPath[str]) -> Response[str]:
    def act(tx: Connection) -> Invitation | Declined:
        must_stand(tx, visitor)
        found = _find(tx, visitor, token)
        return teammates.resend(tx, visitor.for_whom, found, language=visitor.language.value, by=visitor.by)

    again = await store.attempt(act)
    if isinstance(again, Declined):
        raise PageProblem(409, sentence(again))
    return go("/teammates", flash="teammate-invited", request=request)


@post("/invitations/{token:str}/withdraw")
async def withdraw(request: WebRequest, visitor: Visiting, store: Stored, token: FromPath[str]) -> Response[str]:
    def act(tx: Connection) -> None:
        must_stand(tx, visitor)
        teammates.withdraw(tx, _find(tx, visitor, token), by=visitor.by)

    await store.write(act)
    return go("/teammates", flash="invitation-withdrawn", request=request)


@post("/scope-requests/{number:str}/approve")
async def approve(request: WebRequest, visitor: Visiting, store: Stored, number: FromPath[str]) -> Response[str]:
    def act(tx: Connection) -> User | Declined:
        must_stand(tx, visitor)
        asked = _find_request(tx, visitor, number)
        actor_id = visitor.person.id
        return teammates.approve(
            tx, visitor.for_whom, asked, granter=visitor.identity, actor_id=actor_id, by=visitor.by
        )

    after = await store.attempt(act)
    if isinstance(after, Declined):
        raise PageProblem(409, sentence(after))
    return go("/teammates", flash="scopes-given", request=request)


@post("/scope-requests/{number:str}/deny")
async def deny(request: WebRequest, visitor: Visiting, store: Stored, number: FromPath[str]) -> Response[str]:
    def act(tx: Connection) -> None:
        must_stand(tx, visitor)
        teammates.deny(tx, visitor.for_whom, _find_request(tx, visitor, number), by=visitor.by)

    await store.write(act)
    return go("/teammates", flash="scopes-denied", request=request)


HANDLERS = (new, invite, resend, withdraw, approve, deny)


def _find(tx: Connection, visitor: Visitor, token: str) -> Invitation:
    """Find an invitation; one that is over and somebody else's are equally not found."""
    found = teammates.find_pending(tx, visitor.owner_id, token)
    if found is None:
        raise PageProblem(404)
    return found


def _find_request(tx: Connection, visitor: Visitor, number: str) -> Asked:
    if not re.fullmatch(r"[0-9]{1,9}", number, re.ASCII):
        raise PageProblem(404)
    found = teammates.find_request(tx, visitor.owner_id, int(number))
    if found is None:
        raise PageProblem(404)
    return found


def _form(
    request: WebRequest, visitor: Visitor, email: str, typed: RightsForm, declined: Declined | None = None
) -> Response[str]:
    """Show the form, also again with what is wrong with it."""
    errors: dict[str, str] = {}
    fault = None
    if declined is not None:
        text = words(request).gettext(sentence(declined))
        if declined.obstacle in _FIELDS:
            errors[_FIELDS[declined.obstacle]] = text
        else:
            fault = text
    return page(
        request,
        "invitation.html",
        status=200 if declined is None else 422,
        email=email,
        typed=typed,
        groups=rightsform.offered(visitor.scopes, typed.scopes),
        has_subusers=visitor.for_whom.subuser_id is None,
        fault=fault,
        errors=errors,
    )
