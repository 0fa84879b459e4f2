"""Whether a form was made by us for this browser: by a keyed digest of its cookie, and by what it says of its origin.

Two locks, each enough by itself: another site's page knows no token, and a browser says where a form comes from.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from sekisho.doors.dashboard import cookies
from sekisho.doors.dashboard.deps import WebRequest, parts_of
from sekisho.secret import Secret

FIELD: Final = "csrf"

_SAME: Final = frozenset({"same-origin", "none"})
"""What Sec-Fetch-Site may be; "none" is the person himself (a reload)."""


def token_for(key: Secret[bytes], *, session: str, visitor: str) -> str:
    """Make the token of a browser: bound to its session, or, without one, to its visitor's cookie."""
    bound = f"session\0{session}" if session else f"visitor\0{visitor}"
    return hmac.new(key.reveal(), bound.encode(), hashlib.sha256).hexdigest()


def matches(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


def key_of(request: WebRequest) -> Secret[bytes]:
    return parts_of(request).sealer.derive("dashboard forms")


def is_ours(request: WebRequest, given: str) -> bool:
    """Whether a form's token is this browser's."""
    session, visitor = cookies.read(request, cookies.SESSION), cookies.read(request, cookies.VISITOR)
    if not session and not visitor:
        return False
    return matches(token_for(key_of(request), session=session, visitor=visitor), given)


def is_from_here(request: WebRequest) -> bool:
    """Whether the browser says that a form comes from a page of ours, or says nothing (an old one)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in _SAME:
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    # By public_url, and by the name that the browser used: behind a tunnel the two may differ.
    hosts = {urlsplit(parts_of(request).public_url).netloc, request.headers.get("host", "")}
    parsed = urlsplit(origin)
    return parsed.scheme in {"http", "https"} and parsed.netloc in hosts
