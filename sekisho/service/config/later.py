"""What the contract names and this version does not do yet: refused, never accepted and ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Later:
    """A key (or a whole table) of a later version; ``unless`` says which written values are fine already."""

    brings: str
    what: str = "this key"
    unless: Callable[[object], bool] = lambda _: False


_IDENTITY: Final = "the Identity release (Domain Authentication) brings it"
_UNNAMED: Final = "a later release brings it"

LATER: Final[dict[str, Later]] = {
    "webhooks": Later(_UNNAMED, "this table"),
    "metrics": Later(_UNNAMED, "this table"),
    "dns.authoritative": Later(_IDENTITY, "this table"),
    "storage.spool": Later(_UNNAMED, "a spool in PostgreSQL", lambda written: written != "postgresql"),
    "smtp.listeners.accept": Later(
        _IDENTITY, '"inbound"', lambda written: not (isinstance(written, list) and "inbound" in written)
    ),
    "smtp.trusted_proxies": Later(_UNNAMED, "the PROXY protocol", lambda written: written == []),
}
"""Dotted name (without array positions) → what brings it. Keys that are absent from the model stand here whole."""


def refusal(name: str, written: object) -> str | None:
    """Why ``name`` cannot be set to ``written`` in this version; None when it can be or is none of these."""
    entry = LATER.get(name)
    if entry is None or entry.unless(written):
        return None
    return f"{entry.what} is not supported by this version; {entry.brings}"


WHOLE: Final = frozenset({"webhooks", "metrics", "dns.authoritative"})
"""Those of LATER that the model has no key for: any value is one too many."""
