"""What the menu shows: pages in the order in which people need them, each only to those who may open it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekisho.doors.dashboard.places import PLACES, Place
from sekisho.doors.dashboard.visitor import Visitor
from sekisho.languages import N_


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu."""

    path: str
    label: str


MENU: Final[tuple[Entry, ...]] = (
    Entry("/", N_("Overview")),
    Entry("/keys", N_("API keys")),
    Entry("/subusers", N_("Subusers")),
    Entry("/teammates", N_("Teammates")),
    Entry("/ip-access", N_("IP access")),
    Entry("/audit", N_("Audit log")),
    Entry("/notices", N_("Notices")),
    Entry("/account", N_("Your profile")),
    Entry("/security", N_("Two-factor authentication")),
    Entry("/sessions", N_("Sessions")),
)


def menu_of(visitor: Visitor | None) -> tuple[Entry, ...]:
    """List what somebody may open; a page that is not there yet is not listed."""
    if visitor is None or not visitor.is_full:
        return ()
    return tuple(entry for entry in MENU if may_open(visitor, PLACES.get(("GET", entry.path))))


def may_open(visitor: Visitor, place: Place | None) -> bool:
    """Whether admission would let this visitor in."""
    return (
        place is not None
        and visitor.may(place.scope)
        and (visitor.manages or not place.managers_only)
        and not (place.not_for_subusers and visitor.for_whom.parent_id is not None)
    )
