"""A second factor shown in a form: an app's code, a recovery code, or a passkey's answer; tried only so often."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from sekisho import factors, sessions
from sekisho.doors.dashboard.deps import Parts
from sekisho.doors.dashboard.forms import Form
from sekisho.doors.dashboard.visitor import Visitor
from sekisho.factors import relying_party
from sekisho.languages import N_
from sekisho.refusal import Declined, Obstacle
from sekisho.sessions import Method
from sekisho.users import pace
from sekisho.users.pace import Kind

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
    person = visitor.person
    taken = parts.pace.take_factor(tx, person.id, visitor.now_ms)
    if taken is None:
        return _TOO_OFTEN
    found = _prove(tx, parts, visitor, form)
    if isinstance(found, Method):
        pace.give_back(tx, taken)
    return found


def _prove(tx: Connection, parts: Parts, visitor: Visitor, form: Form) -> Method | NotShown:
    person = visitor.person
    answer = form.raw(PASSKEY, PASSKEY_MAX)
    if answer:
        return _by_passkey(tx, parts, visitor, answer)
    code = form.text(CODE, _CODE_MAX)
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


def wait_s(now_ms: int) -> int:
    """Seconds until codes may be tried again."""
    return pace.wait_s(Kind.FACTOR, now_ms)
