"""The cookies: what they are called, and how narrowly they go. Nothing is in them but random bits and closed lists.

``__Host-`` (RFC 6265bis §4.1.3.2) binds a cookie to this very host: neighbours under the same domain can plant none. It
needs https; over plain http (``sekisho dev``) the names have no prefix.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Response
from litestar.datastructures import Cookie

from sekisho.doors.dashboard.deps import WebRequest, parts_of
from sekisho.secret import Secret
from sekisho.sessions import Begun

SESSION: Final = "sekisho"
VISITOR: Final = "visitor"
"""What forms of somebody without a session are bound to."""
LANGUAGE: Final = "language"
FLASH: Final = "flash"

_VALUE_MAX: Final = 200
_YEAR_S: Final = 365 * 86_400


def name_of(request: WebRequest, cookie: str) -> str:
    return f"__Host-{cookie}" if parts_of(request).is_secure else cookie


def read(request: WebRequest, cookie: str) -> str:
    """Read one; empty when there is none."""
    value = request.cookies.get(name_of(request, cookie), "")
    return value if len(value) <= _VALUE_MAX and value.isascii() else ""


def set_cookie(request: WebRequest, response: Response[Any], cookie: str, value: str, *, max_age_s: int | None) -> None:
    """Set one; ``max_age_s`` None: until the browser is closed."""
    response.set_cookie(
        Cookie(
            key=name_of(request, cookie),
            value=value,
            path="/",
            secure=parts_of(request).is_secure,
            httponly=True,
            # Lax, not Strict: a link in a mail must find the log-in. Nothing changes by GET.
            samesite="lax",
            max_age=max_age_s,
        )
    )


def set_session(request: WebRequest, response: Response[Any], begun: Begun) -> None:
    """Hand over a session's new token. Its end is the server's to know."""
    set_cookie(request, response, SESSION, begun.token.reveal(), max_age_s=None)


def set_language(request: WebRequest, response: Response[Any], code: str) -> None:
    set_cookie(request, response, LANGUAGE, code, max_age_s=_YEAR_S)


def drop(request: WebRequest, response: Response[Any], cookie: str) -> None:
    set_cookie(request, response, cookie, "", max_age_s=0)


def session_token(request: WebRequest) -> Secret[str]:
    return Secret(read(request, SESSION))
