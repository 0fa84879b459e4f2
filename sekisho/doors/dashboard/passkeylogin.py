"""Logging in with a passkey alone: it is two factors by itself, since the device makes sure who holds it.

Nobody is known until the passkey answers, so the challenge waits in a visitor's session: one for each try of an
address, as many as that may make.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho import factors, sessions, users
from sekisho.audit import By
from sekisho.doors.dashboard import cookies, entry
from sekisho.doors.dashboard.deps import Parts, TheParts, WebRequest
from sekisho.doors.dashboard.forms import read_form
from sekisho.doors.dashboard.login import TOO_OFTEN
from sekisho.doors.dashboard.pages import go, own_path, page
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.proving import CHALLENGE, PASSKEY, PASSKEY_MAX
from sekisho.doors.dashboard.visitor import Visiting, Visitor
from sekisho.doors.http.address import counted_as
from sekisho.doors.http.store import Stored
from sekisho.factors import RelyingParty, ask_to_show, relying_party
from sekisho.refusal import Declined
from sekisho.sessions import Begun, Method, Stage
from sekisho.users import pace
from sekisho.users.pace import Kind, Taken

PATH: Final = "/login/passkey"
ANSWER: Final = "/login/passkey/answer"

_OPTIONS: Final = "options"
_NEXT: Final = "next"
_TRY: Final = "try"


@post(PATH)
async def begin(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    target = own_path((await read_form(request)).raw("next", 4000))
    party = _party(parts)

    def start(tx: Connection) -> Begun | None:
        taken = parts.pace.take(tx, Kind.ADDRESS, str(counted_as(visitor.address)), visitor.now_ms)
        if taken is None:
            return None
        asked = ask_to_show(party, known=(), alone=True)
        begun = sessions.begin(
            tx,
            user_id=None,
            stage=Stage.VISITOR,
            address=str(visitor.address),
            user_agent=request.headers.get("user-agent", ""),
            at_ms=visitor.now_ms,
        )
        kept = {
            CHALLENGE: base64.b64encode(asked.challenge).decode(),
            _OPTIONS: asked.options,
            _NEXT: target,
            _TRY: [taken.subject, taken.window],
        }
        sessions.remember(tx, begun.session, kept)
        return begun

    if visitor.user is not None:
        return go("/")
    begun = await store.write(start)
    if begun is None:
        raise PageProblem(429, TOO_OFTEN)
    response = go(PATH)
    cookies.set_session(request, response, begun)
    return response


@get(PATH)
async def shown(request: WebRequest, visitor: Visiting) -> Response[Any]:
    kept = {} if visitor.session is None or visitor.user is not None else visitor.session.scratch
    if _OPTIONS not in kept:
        # Asked for twice, or much later: begun anew from the page before.
        return go("/login")
    return page(request, "login-passkey.html", options=kept[_OPTIONS], next=kept[_NEXT])


@post(ANSWER)
async def answer(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[Any]:
    form = await read_form(request)
    given, target = form.raw(PASSKEY, PASSKEY_MAX), own_path(form.raw("next", 4000))
    party = _party(parts)
    if visitor.session is None or visitor.user is not None:
        return go("/login")
    begun = await store.write(lambda tx: _prove(tx, visitor, party, given))
    if begun is None:
        parts.on_failed(visitor.address, None, None)
        response = go("/login", flash="passkey-failed", request=request)
        cookies.drop(request, response, cookies.SESSION)
        return response
    return entry.enter(request, begun, target)


def _prove(tx: Connection, visitor: Visitor, party: RelyingParty, given: str) -> Begun | None:
    """Log in whose passkey it is; None when it proves nothing. The challenge is used up either way."""
    kept = sessions.take_scratch(tx, visitor.its_session)
    challenge = kept.get(CHALLENGE)
    by = By("visitor", visitor.now_ms, str(visitor.address))
    used = (
        factors.use_passkey(tx, given, rp=party, challenge=base64.b64decode(challenge), user_id=None, by=by)
        if isinstance(challenge, str)
        else None
    )
    person = None if used is None or isinstance(used, Declined) else users.user_by_id(tx, used.user_id)
    if person is None:
        sessions.forget(tx, visitor.its_session)
        return None
    subject, window = kept[_TRY]
    pace.give_back(tx, Taken(Kind.ADDRESS, subject, window))
    return entry.complete(tx, visitor, Method.PASSKEY, person=person)


def _party(parts: Parts) -> RelyingParty:
    party = relying_party(parts.public_url)
    if party is None:
        raise PageProblem(404)
    return party


HANDLERS = (begin, shown, answer)
