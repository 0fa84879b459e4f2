"""A form that came before its second factor: sealed into the page that asks for it, and taken up again after.

Sealed, since a form may hold a new password; bound to the session, the page it was for, and a quarter of an hour.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from sekisho.doors.dashboard.csrf import FIELD as CSRF_FIELD
from sekisho.doors.dashboard.forms import Form
from sekisho.sealing import SealBroken, Sealer
from sekisho.secret import Secret
from sekisho.sessions import Session

FIELD: Final = "kept"
FORM_MAX_BYTES: Final = 24 * 1024
"""Of the form as JSON: sealed and written in Base64 it must fit into a form itself."""
FIELD_MAX: Final = 40_000
GOOD_MS: Final = 15 * 60_000

_PURPOSE: Final = "kept form"


class _Kept(msgspec.Struct, frozen=True):
    path: str
    at_ms: int
    fields: list[tuple[str, str]]


_kept: Final = msgspec.json.Decoder(_Kept)


def keep(form: Form, session: Session, path: str, sealer: Sealer, now_ms: int) -> str | None:
    """Seal a form; None when it is too large to be kept."""
    fields = [(name, value) for name, value in form.fields if name not in {CSRF_FIELD, FIELD}]
    text = msgspec.json.encode(_Kept(path, now_ms, fields))
    if len(text) > FORM_MAX_BYTES:
        return None
    sealed = sealer.seal(Secret(text), purpose=_PURPOSE, row=str(session.id))
    return base64.urlsafe_b64encode(sealed).decode()


def take(sealed: str, session: Session, path: str, sealer: Sealer, now_ms: int) -> Form | None:
    """Open a form that was kept for this session and page; None when it is none, or too old."""
    found = _open(sealed, session, sealer)
    if found is None or found.path != path or not 0 <= now_ms - found.at_ms < GOOD_MS:
        return None
    return Form(tuple(found.fields))


def path_of(sealed: str, session: Session, sealer: Sealer) -> str | None:
    """Tell which page a form was kept for; None when it is none of this session's."""
    found = _open(sealed, session, sealer)
    return None if found is None else found.path


def _open(sealed: str, session: Session, sealer: Sealer) -> _Kept | None:
    try:
        raw = base64.urlsafe_b64decode(sealed.encode("ascii"))
        return _kept.decode(sealer.open(raw, purpose=_PURPOSE, row=str(session.id)).reveal())
    except (SealBroken, binascii.Error, UnicodeEncodeError, msgspec.DecodeError):
        return None
