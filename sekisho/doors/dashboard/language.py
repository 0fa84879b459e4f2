"""Which language a page is in: the person's own choice, then the browser's cookie, then what the browser asks for."""

from __future__ import annotations

from typing import Final

from sekisho.languages import Language

_HEADER_MAX: Final = 400
_RANGES_MAX: Final = 20


def choose(own: str | None, cookie: str, accepted: str) -> Language:
    """Choose by the first that names a language of ours."""
    for code in (own, cookie):
        if (found := _known(code or "")) is not None:
            return found
    return negotiate(accepted)


def negotiate(accepted: str) -> Language:
    """Read Accept-Language (RFC 9110 §12.5.4): the one of ours with the greatest weight, the first of equals."""
    best, weight = Language.ENGLISH, 0.0
    for one in accepted[:_HEADER_MAX].split(",")[:_RANGES_MAX]:
        tag, _, parameter = one.strip().partition(";")
        found = _known(tag.strip().partition("-")[0].lower())
        wanted = _weight(parameter)
        if found is not None and wanted > weight:
            best, weight = found, wanted
    return best


def _known(code: str) -> Language | None:
    try:
        return Language(code)
    except ValueError:
        return None


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        return min(1.0, max(0.0, float(value))) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
