"""Who is let in to a page: what stands before every handler, by the table of places.

In this order: the session and what it amounts to now, the form and that it is ours, how far the log-in has come, what
its person may, and whether the second factor was shown just now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from litestar import Response
from sqlalchemy import Connection

from sekisho import sessions
from sekisho.doors.dashboard import cookies, csrf, kept
from sekisho.doors.dashboard.deps import Parts, WebRequest
from sekisho.doors.dashboard.entry import ENROL, NOT_FROM_HERE, SECOND
from sekisho.doors.dashboard.forms import Form, parse
from sekisho.doors.dashboard.language import choose
from sekisho.doors.dashboard.nav import may_open
from sekisho.doors.dashboard.pages import go, here
from sekisho.doors.dashboard.places import PLACES, STAGES, Standing
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.stepup import ask
from sekisho.doors.dashboard.visitor import NotListed, Rights, Visitor, rights_of
from sekisho.doors.http.address import client_address
from sekisho.identity import IPAddress
from sekisho.languages import N_
from sekisho.secret import Secret
from sekisho.sessions import Session, Stage
from sekisho.sessions.model import SEEN_EVERY_MS

LOGIN: Final = "/login"

LANDINGS: Final = {Stage.VISITOR: LOGIN, Stage.PASSWORD: SECOND, Stage.ENROL: ENROL, Stage.FULL: "/"}
"""Where somebody belongs whose log-in has come so far."""

OUT_OF_DATE: Final = N_(
    "This form is out of date, or it was not made by this site. Go back, reload the page, try again."
)


@dataclass(frozen=True, slots=True)
class _Known:
    """A session that is not over, and what it amounts to."""

    session: Session | None
    """None: somebody who may not come from this address."""
    rights: Rights | None


class Admission:
    """What is asked before each handler; made once."""

    def __init__(self, parts: Parts) -> None:
        self._parts: Final = parts

    async def __call__(self, request: WebRequest) -> Response[Any] | None:
        """Let the request in (None), or answer in the handler's stead; raises PageProblem."""
        place = PLACES[request.method, request.scope["path_template"]]
        state = request.scope["state"]
        state["address"] = address = self._address(request)
        if any("\0" in str(value) for value in request.path_params.values()):
            raise PageProblem(404)
        if any("\0" in name or "\0" in value for name, value in request.query_params.multi_items()):
            raise PageProblem(400)
        if place.standing is Standing.PUBLIC:
            return None
        now_ms = self._parts.clock.now_ms()
        known = await self._known(cookies.session_token(request), address, now_ms)
        state["visitor"] = visitor = _visitor(request, known, address, now_ms)
        form = Form() if request.method == "GET" else await self._form(request, visitor)
        state["form"] = form
        if place.standing is Standing.VISITOR:
            return None
        if known is not None and known.session is None:
            raise PageProblem(403, NOT_FROM_HERE)
        stage = STAGES[place.standing]
        if visitor.session is None or visitor.user is None:
            return go(_with_next(LOGIN, here(request)))
        if visitor.session.stage is not stage:
            return go(LANDINGS[visitor.session.stage])
        if visitor.is_full:
            if not may_open(visitor, place):
                raise PageProblem(403)
            if place.step_up and not visitor.session.is_stepped_up(now_ms):
                return await self._to_step_up(request, visitor, form)
        return None

    def _address(self, request: WebRequest) -> IPAddress:
        client = request.scope["client"]
        if client is None:
            message = "the server gives every connection its peer's address"
            raise RuntimeError(message)
        forwarded = request.headers.getall("x-forwarded-for", [])
        return client_address(client[0], forwarded, self._parts.trusted_proxies())

    async def _known(self, token: Secret[str], address: IPAddress, now_ms: int) -> _Known | None:
        """Find out whose session it is; None: nobody's, or one that is over."""
        if not token.reveal():
            return None

        def look(tx: Connection) -> tuple[Session, Rights | NotListed | None] | None:
            session = sessions.find_session(tx, token, now_ms)
            if session is None:
                return None
            return session, None if session.user_id is None else rights_of(tx, session, address)

        found = await self._parts.store.read(look)
        if found is None:
            return None
        session, rights = found
        if session.user_id is not None and rights is None:
            return None
        if isinstance(rights, NotListed):
            self._parts.on_attempt(rights.home, address, False)
            return _Known(None, None)
        if rights is not None:
            self._parts.on_attempt(rights.home, address, True)
        if now_ms - session.seen_ms >= SEEN_EVERY_MS:
            await self._parts.store.write(lambda tx: sessions.touch(tx, session, address=str(address), at_ms=now_ms))
        return _Known(session, rights)

    async def _form(self, request: WebRequest, visitor: Visitor) -> Form:
        """Read the form, and make sure that a page of ours sent it; raises PageProblem."""
        if not csrf.is_from_here(request):
            raise PageProblem(403, OUT_OF_DATE)
        form = parse(await request.body(), request.headers.get("content-type", ""))
        # A form that was kept while the second factor was asked for was checked before it was sealed.
        if visitor.session is not None and (sealed := form.raw(kept.FIELD, kept.FIELD_MAX)):
            before = kept.take(sealed, visitor.session, request.url.path, self._parts.sealer, visitor.now_ms)
            if before is not None:
                return before
        if not csrf.is_ours(request, form.raw(csrf.FIELD)):
            raise PageProblem(403, OUT_OF_DATE)
        return form

    async def _to_step_up(self, request: WebRequest, visitor: Visitor, form: Form) -> Response[Any]:
        if request.method == "GET":
            return go(_with_next("/step-up", here(request)))
        return await ask(request, visitor, form)


def _visitor(request: WebRequest, known: _Known | None, address: IPAddress, now_ms: int) -> Visitor:
    rights = None if known is None else known.rights
    own = None if rights is None else rights.user.language
    accepted = request.headers.get("accept-language", "")
    return Visitor(
        session=None if known is None else known.session,
        user=None if rights is None else rights.user,
        tenant=None if rights is None else rights.tenant,
        home=None if rights is None else rights.home,
        scopes=frozenset() if rights is None else rights.scopes,
        manages=rights is not None and rights.manages,
        address=address,
        now_ms=now_ms,
        request_id=request.scope["state"]["request_id"],
        language=choose(own, cookies.read(request, cookies.LANGUAGE), accepted),
    )


def _with_next(path: str, target: str) -> str:
    return path if target == "/" else f"{path}?next={quote(target, safe='')}"
