"""A second factor shown in a form: an app's code, a recovery code, or a passkey's answer; tried only so often."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from sekisho import factors, sessions
from sekisho.doors.dashboard.deps import Parts
from sekisho.doors.dashboard.forms import Form
from sekisho.doors.dashboard.visitor import Visitor, must_stand
from sekisho.factors import Enrolled, ask_to_show, relying_party
from sekisho.languages import N_
from sekisho.refusal import Declined, Obstacle
from sekisho.sessions import Method
from sekisho.users import pace

CODE: Final = "code"
PASSKEY: Final = "answer"
"""The fields of a form: what was typed, and what ``passkey.js`` put there."""

CHALLENGE: Final = "challenge"
"""Where in the session's scratch the passkey's challenge is, in Base64."""

_CODE_MAX: Final = 100
PASSKEY_MAX: Final = 16_384
_TOTP_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class NotShown:
    """Nothing that proves it; ``text`` is an English sentence of the catalogue."""

    text: str
    status: int = 422


_WRONG: Final = NotShown(N_("This code is not right. Codes of an app change every 30 seconds, and are good once."))
_USED: Final = NotShown(N_("This code was used already. Wait for the next one."))
_NO_PASSKEY: Final = NotShown(N_("The passkey could not be checked. Try again."))
_TOO_OFTEN: Final = NotShown(N_("Too many wrong codes. Wait a quarter of an hour, then try again."), 429)


def prove(tx: Connection, parts: Parts, visitor: Visitor, form: Form) -> Method | NotShown:
    """Take what a form holds as a second factor, and use it up; the caller's transaction must commit either way."""
    answer = form.raw(PASSKEY, PASSKEY_MAX)
    if answer:
        # Nobody guesses it, so it is not counted: else whoever knows a password could keep its owner out.
        return _by_passkey(tx, parts, visitor, answer)
    taken = parts.pace.take_factor(tx, visitor.person.id, visitor.now_ms)
    if taken is None:
        return _TOO_OFTEN
    found = _by_code(tx, parts, visitor, form.text(CODE, _CODE_MAX))
    if isinstance(found, Method):
        pace.give_back(tx, taken)
    return found


def _by_code(tx: Connection, parts: Parts, visitor: Visitor, code: str) -> Method | NotShown:
    person = visitor.person
    if len("".join(code.split())) <= _TOTP_DIGITS:
        used = factors.use_totp(tx, person.id, code, sealer=parts.sealer, now_ms=visitor.now_ms)
        if used is None:
            return Method.TOTP
        return _USED if used.obstacle is Obstacle.FACTOR_USED else _WRONG
    left = factors.use_recovery(tx, person, code, by=visitor.by)
    return _WRONG if isinstance(left, Declined) else Method.RECOVERY


def _by_passkey(tx: Connection, parts: Parts, visitor: Visitor, answer: str) -> Method | NotShown:
    party = relying_party(parts.public_url)
    scratch: dict[str, Any] = sessions.take_scratch(tx, visitor.its_session)
    challenge = scratch.get(CHALLENGE)
    if party is None or not isinstance(challenge, str):
        return _NO_PASSKEY
    used = factors.use_passkey(
        tx, answer, rp=party, challenge=base64.b64decode(challenge), user_id=visitor.person.id, by=visitor.by
    )
    return _NO_PASSKEY if isinstance(used, Declined) else Method.PASSKEY


async def ask(parts: Parts, visitor: Visitor, *, by_passkey: bool) -> tuple[Enrolled, str | None]:
    """Give what may be shown, and what a passkey is asked (None: none is asked for on this page).

    The script asks for a passkey at once: only where one is wanted, or no app is there.
    """
    party = relying_party(parts.public_url)

    def begin(tx: Connection) -> tuple[Enrolled, str | None]:
        must_stand(tx, visitor)
        enrolled = factors.enrolled(tx, visitor.person.id)
        if party is None or not enrolled.passkeys or (enrolled.totp and not by_passkey):
            return enrolled, None
        known = [one.known for one in factors.passkeys_of(tx, visitor.person.id)]
        asked = ask_to_show(party, known=known, alone=False)
        challenge = base64.b64encode(asked.challenge).decode()
        sessions.remember(tx, visitor.its_session, {CHALLENGE: challenge})
        return enrolled, asked.options

    return await parts.store.write(begin)
