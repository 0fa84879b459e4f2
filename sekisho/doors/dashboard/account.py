"""What people change about their own log-in: language, password, e-mail address."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import links, users
from sekisho.audit import By
from sekisho.doors.dashboard import newpassword
from sekisho.doors.dashboard.deps import TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.visitor import Visiting, must_stand
from sekisho.doors.dashboard.ways import EMAIL_MAX, SPENT, TAKEN
from sekisho.doors.http.store import Stored
from sekisho.languages import Language
from sekisho.links import Link, Purpose
from sekisho.policy import people
from sekisho.refusal import Declined, Obstacle
from sekisho.users import User, Weakness

BASE: Final = "/account"


def _shown(request: WebRequest, *, email: str = "", errors: dict[str, str] | None = None) -> Response[Any]:
    _ = words(request).gettext
    said = {field: _(text) for field, text in (errors or {}).items()}
    return page(request, "account.html", status=422 if said else 200, email=email, errors=said)


@get(BASE)
async def shown(request: WebRequest) -> Response[Any]:
    return _shown(request)


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
        return _shown(request, errors={"password": newpassword.WEAK[digest]})

    def change(tx: Connection) -> None:
        must_stand(tx, visitor)
        people.change_password(tx, person, digest, kept_session=visitor.its_session.id, by=visitor.by)

    await store.write(change)
    return go(BASE, flash="password-changed", request=request)


@post(f"{BASE}/email")
async def change_email(request: WebRequest, visitor: Visiting, store: Stored) -> Response[Any]:
    email = (await read_form(request)).text("email", EMAIL_MAX)

    def ask(tx: Connection) -> Declined | None:
        must_stand(tx, visitor)
        return people.ask_for_email(tx, visitor.person, email, language=visitor.language.value, by=visitor.by)

    declined = await store.attempt(ask)
    if isinstance(declined, Declined):
        return _shown(request, email=email, errors={"email": sentence(declined)})
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


HANDLERS = (shown, change_language, change_password, change_email, confirm_shown, confirm)
