"""Ways in by a link: set-up, sign-up, an invitation, a new password. Opening one uses nothing up; its form does."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import Connection

from sekisho import accounts, letters, links, signup, teammates, users
from sekisho.audit import By
from sekisho.doors.dashboard import entry, newpassword
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import Form, read_form
from sekisho.doors.dashboard.pages import page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.visitor import Visiting, Visitor
from sekisho.doors.http.address import counted_as
from sekisho.doors.http.ratelimit import Pace
from sekisho.languages import N_
from sekisho.links import Link, Purpose
from sekisho.policy import people
from sekisho.refusal import Declined, Obstacle
from sekisho.sessions import Begun
from sekisho.users import Weakness
from sekisho.wire.mail.address import parse_path

EMAIL_MAX: Final = 254

SPENT: Final = N_(
    "This link is not good any more: it was used, replaced by a newer one, or is too old. Ask for another."
)
CLOSED: Final = N_("Nobody can open an account here. Ask whoever runs this server.")
BY_INVITATION: Final = N_("Accounts are opened by invitation here. Ask whoever runs this server for one.")
TOO_OFTEN: Final = N_("You asked too often. Wait a minute, then try again.")
TAKEN: Final = N_("Somebody logs in with this address already. Ask whoever runs this server to use another one.")

_WITH_NAME: Final = frozenset({Purpose.SIGNUP, Purpose.INVITE})


def _by(visitor: Visitor) -> By:
    """Who acts before he is anybody."""
    return By("visitor", visitor.now_ms, str(visitor.address))


async def _look(parts: Parts, visitor: Visitor, purpose: Purpose, token: str) -> Link:
    if purpose is Purpose.SIGNUP and parts.signup_mode == "closed":
        raise PageProblem(403, CLOSED)
    found = await parts.store.read(lambda tx: links.find(tx, purpose, token, now_ms=visitor.now_ms))
    if found is None:
        raise PageProblem(404, SPENT)
    return found


def _shown(
    request: WebRequest,
    purpose: Purpose,
    token: str,
    link: Link,
    *,
    name: str = "",
    errors: dict[str, str] | None = None,
) -> Response[Any]:
    _ = words(request).gettext
    return page(
        request,
        "way-in.html",
        status=422 if errors else 200,
        purpose=purpose.value,
        action=f"/{purpose.value}/{token}",
        with_name=purpose in _WITH_NAME,
        email=link.email,
        name=name,
        errors={field: _(text) for field, text in (errors or {}).items()},
    )


async def _done(request: WebRequest, visitor: Visitor, parts: Parts, purpose: Purpose, token: str) -> Response[Any]:
    link = await _look(parts, visitor, purpose, token)
    form = await read_form(request)
    name = form.text("name", 254)
    digest = await newpassword.digest_of(parts, form, (name, link.email or ""))
    if isinstance(digest, Weakness):
        return _shown(request, purpose, token, link, name=name, errors={"password": newpassword.WEAK[digest]})

    def act(tx: Connection) -> Begun | Declined:
        person = _person(tx, visitor, parts, purpose, token, name, digest)
        return person if isinstance(person, Declined) else entry.begin(tx, request, visitor, person)

    done = await parts.store.attempt(act)
    if isinstance(done, Declined):
        if done.obstacle in {Obstacle.LINK_SPENT, Obstacle.INVITATION_UNKNOWN}:
            raise PageProblem(404, SPENT)
        if done.obstacle is Obstacle.EMAIL_TAKEN:
            raise PageProblem(409, TAKEN)
        field = "name" if purpose in _WITH_NAME else "password"
        return _shown(request, purpose, token, link, name=name, errors={field: sentence(done)})
    return entry.enter(request, done)


def _person(  # noqa: PLR0917
    tx: Connection, visitor: Visitor, parts: Parts, purpose: Purpose, token: str, name: str, digest: str
) -> users.User | Declined:
    by, language = _by(visitor), visitor.language.value
    match purpose:
        case Purpose.SETUP:
            return signup.set_up(tx, token, password=digest, language=language, by=by)
        case Purpose.SIGNUP:
            opened = signup.open_account(
                tx, token, name=name, password=digest, terms=parts.terms, language=language, by=by
            )
            return opened if isinstance(opened, Declined) else opened.owner
        case _:
            link = links.use(tx, purpose, token, at_ms=visitor.now_ms)
            if link is None:
                return Declined(Obstacle.LINK_SPENT, "this link is not good any more")
            if purpose is Purpose.INVITE and link.invitation_id is not None:
                return teammates.accept(
                    tx, link.invitation_id, username=name, password=digest, language=language, by=by
                )
            person = None if link.user_id is None else users.user_by_id(tx, link.user_id)
            if person is None:
                return Declined(Obstacle.LINK_SPENT, "this link is not good any more")
            # The second factor stays: what follows is asking for it.
            return people.change_password(tx, person, digest, by=By(f"user:{person.id}", by.at_ms, by.address))


@get("/setup/{token:str}")
async def setup_shown(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    return _shown(request, Purpose.SETUP, token, await _look(parts, visitor, Purpose.SETUP, token))


@post("/setup/{token:str}")
async def set_up(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    return await _done(request, visitor, parts, Purpose.SETUP, token)


@get("/signup/{token:str}")
async def signup_shown(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    return _shown(request, Purpose.SIGNUP, token, await _look(parts, visitor, Purpose.SIGNUP, token))


@post("/signup/{token:str}")
async def sign_up(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    return await _done(request, visitor, parts, Purpose.SIGNUP, token)


@get("/invite/{token:str}")
async def invite_shown(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    link = await _look(parts, visitor, Purpose.INVITE, token)

    def propose(tx: Connection) -> str:
        found = None if link.invitation_id is None else teammates.invitation_by_id(tx, link.invitation_id)
        tenant = None if found is None else accounts.account_by_id(tx, found.tenant_id)
        return "" if tenant is None or link.email is None else users.propose_username(tx, tenant, link.email)

    return _shown(request, Purpose.INVITE, token, link, name=await parts.store.read(propose))


@post("/invite/{token:str}")
async def accept(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    return await _done(request, visitor, parts, Purpose.INVITE, token)


@get("/reset/{token:str}")
async def reset_shown(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    return _shown(request, Purpose.RESET, token, await _look(parts, visitor, Purpose.RESET, token))


@post("/reset/{token:str}")
async def reset(request: WebRequest, visitor: Visiting, parts: TheParts, token: FromPath[str]) -> Response[Any]:
    return await _done(request, visitor, parts, Purpose.RESET, token)


# Asking for a link: the answer is the same whoever has the address, and who that is nobody looks up here.


@get("/reset")
async def reset_asked(request: WebRequest) -> Response[Any]:
    return page(request, "ask-link.html", purpose="reset", sent=False, value="")


@post("/reset")
async def send_reset(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    form = await read_form(request)
    return await _ask(request, visitor, parts, form, letters.Kind.RESET)


@get("/signup")
async def signup_asked(request: WebRequest, parts: TheParts) -> Response[Any]:
    _check_open(parts)
    return page(request, "ask-link.html", purpose="signup", sent=False, value="")


@post("/signup")
async def send_signup(request: WebRequest, visitor: Visiting, parts: TheParts) -> Response[Any]:
    _check_open(parts)
    form = await read_form(request)
    return await _ask(request, visitor, parts, form, letters.Kind.SIGNUP)


def _check_open(parts: Parts) -> None:
    if parts.signup_mode != "open":
        raise PageProblem(403, BY_INVITATION if parts.signup_mode == "invitation" else CLOSED)


async def _ask(request: WebRequest, visitor: Visitor, parts: Parts, form: Form, kind: letters.Kind) -> Response[Any]:
    typed = form.text("email", EMAIL_MAX)
    is_signup = kind is letters.Kind.SIGNUP
    address = parse_path(typed)
    if not typed or not typed.isprintable() or (is_signup and (address is None or address.domain.startswith("["))):
        fault = words(request).gettext(N_("This is not an e-mail address such as ann@example.com."))
        errors = {"email": fault}
        return page(request, "ask-link.html", status=422, purpose=kind.value, sent=False, value=typed, errors=errors)
    if not parts.paces.count(Pace.PUBLIC, (kind, counted_as(visitor.address)), visitor.now_ms).allowed:
        raise PageProblem(429, TOO_OFTEN)
    await parts.store.write(
        lambda tx: letters.ask(
            tx,
            kind,
            typed if address is None else str(address),
            at_ms=visitor.now_ms,
            language=visitor.language.value,
            about={"address": str(visitor.address)},
        )
    )
    return page(request, "ask-link.html", purpose=kind.value, sent=True, value=typed)


HANDLERS = (
    setup_shown,
    set_up,
    signup_asked,
    send_signup,
    signup_shown,
    sign_up,
    invite_shown,
    accept,
    reset_asked,
    send_reset,
    reset_shown,
    reset,
)
