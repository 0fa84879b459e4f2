"""What people change about their own log-in: language, password, e-mail address; and asking to be allowed more."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import links, teammates, users
from sekisho.apikeys.groups import GROUPS
from sekisho.apikeys.scopes import effective
from sekisho.audit import By
from sekisho.doors.dashboard import newpassword
from sekisho.doors.dashboard.deps import TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.dashboard.ways import EMAIL_MAX, SPENT, TAKEN
from sekisho.doors.http.store import Stored
from sekisho.languages import Language
from sekisho.links import Link, Purpose
from sekisho.policy import people
from sekisho.refusal import Declined, Obstacle
from sekisho.users import User, Weakness

BASE: Final = "/account"


def _shown(
    request: WebRequest, visitor: Visitor, *, email: str = "", errors: dict[str, str] | None = None
) -> Response[Any]:
    _ = words(request).gettext
    said = {field: _(text) for field, text in (errors or {}).items()}
    groups = [(name, _(name)) for name in _lacking(visitor)]
    return page(request, "account.html", status=422 if said else 200, email=email, groups=groups, errors=said)


def _lacking(visitor: Visitor) -> tuple[str, ...]:
    """Name the groups of scopes that a plain teammate can ask for: those that he does not have whole."""
    person = visitor.person
    if person.is_manager or person.restricted or visitor.acts_for_another:
        return ()
    there = effective(None, of_subuser=visitor.for_whom.subuser_id is not None)
    return tuple(name for name, scopes in GROUPS.items() if there.intersection(scopes) - visitor.scopes)


@get(BASE)
async def shown(request: WebRequest, visitor: Visiting) -> Response[Any]:
    return _shown(request, visitor)


@post(f"{BASE}/language")
async def change_language(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    wanted = (await read_form(request)).text("language")
    if wanted and wanted not in set(Language):
        raise PageProblem(400)

    def change(tx: Connection) -> None:
        must_stand(tx, visitor)
        users.set_language(tx, visitor.person, wanted or None)

    await store.write(change)
    return go(BASE, flash="account-changed", request=request)


@post(f"{BASE}/password")
async def change_password(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    person = visitor.person
    digest = await newpassword.digest_of(parts, form, (person.username, person.email))
    if isinstance(digest, Weakness):
        return _shown(request, visitor, errors={"password": newpassword.WEAK[digest]})

    def change(tx: Connection) -> None:
        must_stand(tx, visitor)
        people.change_password(tx, person, digest, kept_session=visitor.its_session.id, by=visitor.by)

    await store.write(change)
    return go(BASE, flash="password-changed", request=request)


@post(f"{BASE}/scopes")
async def ask_for_scopes(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    group = (await read_form(request)).text("group")
    if group not in _lacking(visitor):
        raise PageProblem(400)

    def ask(tx: Connection) -> Declined | None:
        must_stand(tx, visitor)
        asked = teammates.ask(tx, visitor.for_whom, visitor.person, group, by=visitor.by)
        return asked if isinstance(asked, Declined) else None

    await store.write(ask)
    return go(BASE, flash="scopes-asked", request=request)


@post(f"{BASE}/email")
async def change_email(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    email = (await read_form(request)).text("email", EMAIL_MAX)

    def ask(tx: Connection) -> Declined | None:
        must_stand(tx, visitor)
        return people.ask_for_email(tx, visitor.person, email, language=visitor.language.value, by=visitor.by)

    declined = await store.attempt(ask)
    if isinstance(declined, Declined):
        return _shown(request, visitor, email=email, errors={"email": sentence(declined)})
    return go(BASE, flash="email-asked", request=request)


@get("/email/{token:str}")
async def confirm_shown(request: WebRequest, visitor: Visiting, store: Stored, token: FromPath[str]) -> Response[Any]:
    def look(tx: Connection) -> Link | None:
        return links.find(tx, Purpose.EMAIL, token, now_ms=visitor.now_ms)

    found = await store.read(look)
    if found is None:
        raise PageProblem(404, SPENT)
    return page(request, "confirm-email.html", token=token, email=found.email)


@post("/email/{token:str}")
async def confirm(request: WebRequest, visitor: Visiting, store: Stored, token: FromPath[str]) -> Response[Any]:
    def prove(tx: Connection) -> User | Declined:
        link = links.use(tx, Purpose.EMAIL, token, at_ms=visitor.now_ms)
        person = None if link is None or link.user_id is None else users.user_by_id(tx, link.user_id)
        if link is None or person is None or link.email is None:
            return Declined(Obstacle.LINK_SPENT, "this link is not good any more")
        by = By(f"user:{person.id}", visitor.now_ms, str(visitor.address))
        return people.prove_email(tx, person, link.email, by=by)

    done = await store.attempt(prove)
    if isinstance(done, Declined):
        is_taken = done.obstacle is Obstacle.EMAIL_TAKEN
        raise PageProblem(409 if is_taken else 404, TAKEN if is_taken else SPENT)
    return go(BASE if visitor.is_full else "/login", flash="email-changed", request=request)


HANDLERS = (shown, change_language, change_password, ask_for_scopes, change_email, confirm_shown, confirm)
