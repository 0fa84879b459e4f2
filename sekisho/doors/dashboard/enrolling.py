"""The two dialogues in which a second factor is set up: the same for the first one and for every other.

Each begins by POST, shows its page by GET for as long as it is remembered, and ends by POST. ``base`` is the path that
it is under.
"""

from __future__ import annotations

import base64
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Response
from sqlalchemy import Connection

from sekisho import factors, sessions
from sekisho.doors.dashboard import proving
from sekisho.doors.dashboard.deps import Parts, WebRequest
from sekisho.doors.dashboard.forms import Form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.visitor import Visitor, must_stand
from sekisho.factors import NAME_MAX, Asked, RelyingParty, ask_to_make, relying_party
from sekisho.languages import N_
from sekisho.refusal import Declined, Obstacle
from sekisho.secret import Secret

CODE_MAX: Final = 100
_OPTIONS: Final = "options"
_NAME: Final = "name"

TEXTS: Final[dict[Obstacle, str]] = {
    Obstacle.FACTOR_UNKNOWN: N_("It is not here any more."),
    Obstacle.FACTOR_WRONG: N_("This is not the code that the app shows now. Is the clock of its device right?"),
    Obstacle.FACTOR_NOT_PENDING: N_("This was begun too long ago. Begin again."),
    Obstacle.FACTOR_MALFORMED: N_("A passkey's name has 1 to 64 characters."),
    Obstacle.FACTOR_TAKEN: N_("This passkey is here already."),
    Obstacle.FACTORS_TOO_MANY: N_("You have as many passkeys as one can have. Remove one first."),
    Obstacle.FACTOR_LAST: N_("It is your only second factor. Add another one before you remove it."),
}
"""What people read where an action says no."""

NO_PASSKEY: Final = N_("The passkey could not be made. Try again.")


# An authenticator app.


async def begin_app(visitor: Visitor, parts: Parts, base: str) -> Response[Any]:
    def begin(tx: Connection) -> None:
        must_stand(tx, visitor)
        factors.begin_totp(tx, visitor.person.id, sealer=parts.sealer, at_ms=visitor.now_ms)

    await parts.store.write(begin)
    return go(f"{base}/app")


async def app_shown(
    request: WebRequest, visitor: Visitor, parts: Parts, base: str, *, fault: Obstacle | None = None
) -> Response[Any]:
    """Show the secret that waits for its first code; where there is none (any more), what it began with."""

    def look(tx: Connection) -> Secret[str] | None:
        return factors.pending_totp(tx, visitor.person.id, sealer=parts.sealer, now_ms=visitor.now_ms)

    secret = await parts.store.read(look)
    if secret is None:
        return go(base)
    uri = factors.uri(secret, issuer=server_name(parts), name=visitor.person.username)
    plain = secret.reveal()
    return page(
        request,
        "enrol-app.html",
        status=200 if fault is None else 422,
        base=base,
        uri=uri.reveal(),
        picture=factors.qr_code(uri).reveal(),
        secret=" ".join(plain[start : start + 4] for start in range(0, len(plain), 4)),
        errors={} if fault is None else {"code": said(request, fault)},
    )


def confirm_app(tx: Connection, visitor: Visitor, parts: Parts, form: Form) -> Obstacle | None:
    code = form.text("code", CODE_MAX)
    return why(factors.confirm_totp(tx, visitor.person, code, sealer=parts.sealer, by=visitor.by))


# A passkey.


async def begin_passkey(visitor: Visitor, parts: Parts, form: Form, base: str) -> Response[Any] | Obstacle:
    """Remember what the browser is asked and how the passkey is to be called; the obstacle when the name is none."""
    party = party_of(parts)
    name = form.text("name")
    if not 1 <= len(name) <= NAME_MAX or not name.isprintable():
        return Obstacle.FACTOR_MALFORMED
    person = visitor.person

    def begin(tx: Connection) -> Asked:
        must_stand(tx, visitor)
        known = [one.known for one in factors.passkeys_of(tx, person.id)]
        asked = ask_to_make(party, person.id, user_name=person.username, rp_name=server_name(parts), known=known)
        challenge = base64.b64encode(asked.challenge).decode()
        sessions.remember(tx, visitor.its_session, {proving.CHALLENGE: challenge, _OPTIONS: asked.options, _NAME: name})
        return asked

    await parts.store.write(begin)
    return go(f"{base}/passkey")


def passkey_shown(request: WebRequest, visitor: Visitor, base: str) -> Response[Any]:
    scratch = visitor.its_session.scratch
    if _OPTIONS not in scratch or _NAME not in scratch:
        return go(base)
    return page(request, "enrol-passkey.html", base=base, options=scratch[_OPTIONS], name=scratch[_NAME])


def add_passkey(tx: Connection, visitor: Visitor, parts: Parts, form: Form) -> Obstacle | None:
    """Take what the browser has made; what it was asked is used up, whatever comes of it."""
    scratch = sessions.take_scratch(tx, visitor.its_session)
    challenge, name = scratch.get(proving.CHALLENGE), scratch.get(_NAME)
    if not isinstance(challenge, str) or not isinstance(name, str):
        return Obstacle.FACTOR_NOT_PENDING
    added = factors.add_passkey(
        tx,
        visitor.person,
        name,
        form.raw(proving.PASSKEY, proving.PASSKEY_MAX),
        rp=party_of(parts),
        challenge=base64.b64decode(challenge),
        by=visitor.by,
    )
    return added.obstacle if isinstance(added, Declined) else None


def why(declined: Declined | None) -> Obstacle | None:
    """Give the reason alone: what an attempt has used up stays so, where a Declined would take it all back."""
    return None if declined is None else declined.obstacle


def passkey_fault(obstacle: Obstacle) -> str:
    """Say why a passkey was not added."""
    return NO_PASSKEY if obstacle is Obstacle.FACTOR_WRONG else TEXTS[obstacle]


# The server, as factors know it.


def can_passkeys(parts: Parts) -> bool:
    return relying_party(parts.public_url) is not None


def party_of(parts: Parts) -> RelyingParty:
    """Give the server as browsers know it; raises PageProblem where they make no passkeys."""
    party = relying_party(parts.public_url)
    if party is None:
        raise PageProblem(404)
    return party


def server_name(parts: Parts) -> str:
    """How apps and devices label what they keep."""
    return f"Sekisho {urlsplit(parts.public_url).hostname}"


def said(request: WebRequest, obstacle: Obstacle) -> str:
    """Say an obstacle in the reader's language."""
    return words(request).gettext(TEXTS[obstacle])
