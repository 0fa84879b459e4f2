"""Pages and redirects: what every handler answers with."""

from __future__ import annotations

import gettext
import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from litestar import Response
from markupsafe import Markup

from sekisho import languages
from sekisho.doors.dashboard import cookies, csrf
from sekisho.doors.dashboard.deps import WebRequest, parts_of
from sekisho.doors.dashboard.flashes import FLASHES
from sekisho.doors.dashboard.language import choose
from sekisho.doors.dashboard.nav import may_open, menu_of
from sekisho.doors.dashboard.places import PLACES
from sekisho.doors.dashboard.visitor import Visitor
from sekisho.languages import Language
from sekisho.sessions import Begun

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"

PATH_MAX: Final = 2000

_LANGUAGE_NAMES: Final = {Language.ENGLISH: "English", Language.JAPANESE: "日本語"}
"""Each by its own name."""


def page(
    request: WebRequest, template: str, *, status: int = 200, begun: Begun | None = None, **context: Any
) -> Response[str]:
    """Render a template.

    In every one: ``_`` and ``ngettext``, ``visitor`` (None: nobody), ``language``, ``csrf``, ``menu``, ``flash``,
    ``here`` (path and query, for forms that come back), ``outside`` (the OpenID Provider's name, or None),
    ``errors`` (by field; empty unless given), and what is given.
    """
    state = request.scope["state"]
    visitor: Visitor | None = state.get("visitor")
    language = language_of(request)
    session, anonymous = cookies.read(request, cookies.SESSION), cookies.read(request, cookies.VISITOR)
    if visitor is not None and visitor.session is None:
        # A cookie that names no session any more: forms are bound to the visitor's, and it is dropped below.
        session = ""
    if begun is not None:
        # The answer hands over this session's new token, so forms are bound to that.
        session = begun.token.reveal()
    fresh = "" if session or anonymous else secrets.token_urlsafe(32)
    flash = FLASHES.get(cookies.read(request, cookies.FLASH))
    token = csrf.token_for(csrf.key_of(request), session=session, visitor=anonymous or fresh)
    client = parts_of(request).oidc
    shown = {
        "visitor": visitor,
        "language": language,
        "languages": _LANGUAGE_NAMES,
        "csrf": token,
        "menu": menu_of(visitor),
        "flash": flash,
        "here": here(request),
        "errors": {},
        "outside": None if client is None else client.registration.name,
    }
    text = _environment(language).get_template(template).render(shown | context)
    response = Response(text, status_code=status, media_type="text/html")
    if fresh:
        cookies.set_cookie(request, response, cookies.VISITOR, fresh, max_age_s=None)
    if flash is not None:
        cookies.drop(request, response, cookies.FLASH)
    if not session and cookies.read(request, cookies.SESSION):
        cookies.drop(request, response, cookies.SESSION)
    return response


def go(path: str, *, flash: str | None = None, request: WebRequest | None = None) -> Response[str]:
    """Send the browser to another page of ours (303: by GET). ``flash`` is a key of FLASHES and needs ``request``."""
    response = Response("", status_code=303, media_type="text/plain", headers={"Location": path})
    if flash is not None and request is not None:
        cookies.set_cookie(request, response, cookies.FLASH, flash if flash in FLASHES else "", max_age_s=60)
    return response


def own_path(text: str, otherwise: str = "/") -> str:
    r"""Give a path of ours that somebody else may have written, or another one: no redirect leads elsewhere.

    Browsers read a backslash as a slash and drop tabs and line ends, so ``/\t/evil.example`` is somebody else's, too.
    """
    bad = not text.startswith("/") or text.startswith("//") or len(text) > PATH_MAX
    if bad or "\\" in text or not text.isascii() or any(ord(one) <= 0x20 or ord(one) == 0x7F for one in text):
        return otherwise
    # What a browser makes of "/.//evil.example" and the like is a path that begins with two slashes.
    return otherwise if "//" in text.partition("?")[0].partition("#")[0] else text


def here(request: WebRequest) -> str:
    """Give path and query of a page that can be gone back to; "/" for one that only takes forms."""
    if request.method != "GET":
        return "/"
    query = request.scope["query_string"].decode("ascii", "replace")
    return own_path(request.url.path + (f"?{query}" if query else ""))


def language_of(request: WebRequest) -> Language:
    """Give the language of an answer, also where admission did not come to it."""
    visitor: Visitor | None = request.scope["state"].get("visitor")
    if visitor is not None:
        return visitor.language
    accepted = request.headers.get("accept-language", "")
    return choose(None, cookies.read(request, cookies.LANGUAGE), accepted)


def words(request: WebRequest) -> gettext.NullTranslations:
    """Give the catalogue of the answer's language, of which a handler takes ``gettext`` as its ``_``."""
    return languages.catalogue(language_of(request))


# Templates.


@cache
def _environment(language: Language) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    # The extension adds this method.
    made.install_gettext_translations(languages.catalogue(language), newstyle=True)  # type: ignore[attr-defined]
    made.globals["static"] = static_path
    made.globals["may_open"] = _may_open
    made.filters["when"] = when
    made.filters["translated"] = languages.catalogue(language).gettext
    return made


def prepare() -> None:
    """Read now what would otherwise be read for the first page: whoever this process becomes may not be able to."""
    static_files()
    for language in Language:
        made = _environment(language)
        for name in made.list_templates():
            made.get_template(name)


def _may_open(visitor: Visitor | None, path: str, method: str = "GET") -> bool:
    """Whether a template should show a link or a button."""
    return visitor is not None and may_open(visitor, PLACES.get((method, path)))


def when(at_ms: int) -> Markup:
    """Show a moment in UTC."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    machine, human = moment.strftime("%Y-%m-%dT%H:%M:%SZ"), moment.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}">{}</time>').format(machine, human)


@cache
def static_files() -> Mapping[str, tuple[bytes, str]]:
    """Read the files that pages name, once for a process: content and version."""
    found = {}
    for path in sorted(STATIC.iterdir()):
        content = path.read_bytes()
        found[path.name] = (content, hashlib.sha256(content).hexdigest()[:16])
    return found


def static_path(name: str) -> str:
    """Give the address of a file; another one once its content is another, so that browsers may keep it for good."""
    return f"/static/{name}?v={static_files()[name][1]}"
